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

{{- /* An init container of the project that waits for what is named, then says why not. Takes a dict of root, options,
     check, seconds (0: what only other values, or another image, can mend) and hint, and share. */ -}}
{{- define "tandem.checkRequired" -}}
- name: check-{{ .check }}
  image: {{ include "tandem.image" (list .root .root.Values.image) }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [python, -m, django]
  args: [tandem, require, {{ .check }}, --within, {{ .seconds | quote }}, --hint, {{ .hint | quote }}{{ range .share }}, {{ . | quote }}{{ end }}]
  {{- include "tandem.djangoContainer" . | nindent 2 }}
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

{{- /* All checks of a Django pod. Takes a dict of root and options, withoutMigrations, and a service's share. */ -}}
{{- define "tandem.checks" -}}
{{- $root := .root -}}
{{- $image := include "tandem.image" (list $root $root.Values.image) -}}
{{ include "tandem.checkSecrets" (dict "root" $root "image" $image "pullPolicy" $root.Values.image.pullPolicy
  "resources" .options.resources "secrets" (include "tandem.secrets" $root | fromJsonArray)) }}
{{ include "tandem.checkRequired" (dict "root" $root "options" .options "admin" false "check" "routes"
  "seconds" 0 "hint" "") }}
{{- if hasKey . "share" }}
{{ include "tandem.checkRequired" (dict "root" $root "options" .options "admin" false "check" "services"
  "share" .share "seconds" 0 "hint" "Correct services and restate.prefix in the values, or the settings.") }}
{{- end }}
{{ include "tandem.checkRequired" (dict "root" $root "options" .options "admin" false "check" "database"
  "seconds" $root.Values.initChecks.databaseSeconds "hint" (include "tandem.databaseHint" $root)) }}
{{- if not .withoutMigrations }}
{{ include "tandem.checkRequired" (dict "root" $root "options" .options "admin" false "check" "migrations"
  "seconds" $root.Values.initChecks.migrationsSeconds "hint" (include "tandem.migrationsHint" $root)) }}
{{- end }}
{{- end }}
