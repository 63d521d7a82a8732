{{- /* An init container that names each missing Secret, its key and the command that makes it. Takes a dict of root,
     image, pullPolicy, resources and secrets. */ -}}
{{- define "tandem.checkSecrets" -}}
- name: check-secrets
  image: {{ .image }}
  imagePullPolicy: {{ .pullPolicy }}
  command: [/bin/sh, -c]
  args:
    - |
      missing=0
      check() {
        eval "value=\${$1:-}"
        test -z "$value" || return 0
        missing=1
        echo "Secret $2 has no key $3, or does not exist in namespace {{ .root.Release.Namespace }}. Make it:" \
          "kubectl --namespace {{ .root.Release.Namespace }} create secret generic $2 --from-literal=$3=VALUE" \
          "(where it exists: kubectl --namespace {{ .root.Release.Namespace }} patch secret $2" \
          "--patch '{\"stringData\": {\"$3\": \"VALUE\"}}')." >&2
      }
      {{- range .secrets }}
      check {{ .variable }} {{ .secret }} {{ .key }}
      {{- end }}
      exit $missing
  env:
    {{- include "tandem.secretEnvironment" .secrets | trim | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    {{- include "tandem.containerSecurity" . | nindent 4 }}
{{- end }}

{{- define "tandem.databaseHint" -}}
{{- if and .Values.postgres.enabled (not .Values.database.existingSecret) -}}
Look at it: kubectl --namespace {{ .Release.Namespace }} logs statefulset/{{ include "tandem.name" (list . "postgres") }}
{{- else -}}
Its URL is the key {{ .Values.database.key }} of Secret {{ include "tandem.databaseSecret" . }}.
{{- end }}
{{- end }}

{{- define "tandem.migrationsHint" -}}
{{- if .Values.migrations.enabled -}}
The newest Job applies them: kubectl --namespace {{ .Release.Namespace }} logs --selector app.kubernetes.io/instance={{ .Release.Name }},app.kubernetes.io/component=migrate --all-containers
{{- else -}}
migrations.enabled is false, so apply them yourself, with this image: python -m django tandem migrate
{{- end }}
{{- end }}

{{- /* All checks of a Django pod: one process of the project looks at all that it needs, in order, then says what is
     missing and why. Takes a dict of root and options, withoutMigrations, and a service's share. */ -}}
{{- define "tandem.checks" -}}
{{- $root := .root -}}
{{- $image := include "tandem.image" (list $root $root.Values.image) -}}
{{ include "tandem.checkSecrets" (dict "root" $root "image" $image "pullPolicy" $root.Values.image.pullPolicy
  "resources" .options.resources "secrets" (include "tandem.secrets" $root | fromJsonArray)) }}
- name: check-required
  image: {{ $image }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  command: [python, -m, django]
  args:
    - tandem
    - require
    - routes
    {{- if hasKey . "share" }}
    - services
    {{- end }}
    - database
    {{- if not .withoutMigrations }}
    - migrations
    - --within=migrations={{ $root.Values.initChecks.migrationsSeconds }}
    - {{ printf "--hint=migrations=%s" (include "tandem.migrationsHint" $root) | quote }}
    {{- end }}
    - --within=database={{ $root.Values.initChecks.databaseSeconds }}
    - {{ printf "--hint=database=%s" (include "tandem.databaseHint" $root) | quote }}
    {{- if hasKey . "share" }}
    - --hint=services=Correct services and restate.prefix in the values, or the settings.
    {{- range .share }}
    - {{ . | quote }}
    {{- end }}
    {{- end }}
  {{- include "tandem.djangoContainer" (dict "root" $root "options" .options "admin" false) | nindent 2 }}
{{- end }}
