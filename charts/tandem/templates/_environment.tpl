{{- /* The environment variables that come from Secrets, as a JSON list of {variable, secret, key}. Takes the root. */ -}}
{{- define "tandem.secrets" -}}
{{- $secrets := list
  (dict "variable" "SECRET_KEY" "secret" (include "tandem.secretKeySecret" .) "key" .Values.django.secretKey.key)
  (dict "variable" "DATABASE_URL" "secret" (include "tandem.databaseSecret" .) "key" .Values.database.key) -}}
{{- if or .Values.redis.enabled .Values.broker.existingSecret -}}
{{- $secrets = append $secrets (dict "variable" "TANDEM_BROKER_URL" "secret" (include "tandem.brokerSecret" .) "key" .Values.broker.key) -}}
{{- end -}}
{{- with include "tandem.identitySecret" . -}}
{{- $secrets = append $secrets (dict "variable" "TANDEM_RESTATE_IDENTITY_KEYS" "secret" . "key" "public") -}}
{{- end -}}
{{ toJson $secrets }}
{{- end }}

{{- /* Variables from Secrets that may be missing: `check-secrets` says so in words, where the kubelet would only wait.
     Takes a list of {variable, secret, key}. */ -}}
{{- define "tandem.secretEnvironment" -}}
{{- range . -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
      optional: true
{{ end }}
{{- end }}

{{- define "tandem.routes" -}}
{{- if kindIs "map" .Values.routes -}}
{{- $entries := list -}}
{{- range $left, $right := .Values.routes -}}
{{- $entries = append $entries (printf "%s=%s" $left $right) -}}
{{- end -}}
{{ join "; " $entries }}
{{- else -}}
{{ .Values.routes | default "" }}
{{- end }}
{{- end }}

{{- /* What has no pods while it has no work, for `tandem check`: an engine, or a queue of Celery's. */ -}}
{{- define "tandem.scaledToZero" -}}
{{- $found := list -}}
{{- $kinds := dict "celery" (list .Values.workers .Values.workerDefaults) "restate" (list .Values.services .Values.serviceDefaults) -}}
{{- range $engine, $kind := $kinds -}}
{{- $always := false -}}
{{- range $given := index $kind 0 -}}
{{- $options := mergeOverwrite (deepCopy (index $kind 1)) ($given | default dict) -}}
{{- if $options.enabled -}}
{{- if or (not (kindIs "invalid" $options.scaling.replicas)) $options.scaling.minReplicas -}}
{{- $always = true -}}
{{- else -}}
{{- range $options.queues -}}
{{- $found = append $found (printf "%s/%s" $engine .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (include "tandem.enabledOf" $kind) (not $always) -}}
{{- $found = append $found $engine -}}
{{- end -}}
{{- end -}}
{{ join "," $found }}
{{- end }}

{{- define "tandem.origins" -}}
{{- $scheme := ternary "https" "http" (not (empty .Values.web.ingress.tlsSecret)) -}}
{{- $origins := .Values.django.csrfTrustedOrigins -}}
{{- if .Values.web.ingress.enabled -}}
{{- range .Values.web.ingress.hosts -}}
{{- $origins = append $origins (printf "%s://%s" $scheme .) -}}
{{- end -}}
{{- end -}}
{{ uniq $origins | join "," }}
{{- end }}

{{- define "tandem.hosts" -}}
{{- $service := include "tandem.name" (list . "web") -}}
{{- $hosts := concat .Values.django.allowedHosts (ternary .Values.web.ingress.hosts list .Values.web.ingress.enabled) -}}
{{- $own := list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace) -}}
{{- $names := list -}}
{{- range concat $hosts $own (list "localhost" "127.0.0.1") -}}
{{- /* Django's word for every name below one begins with the dot. */ -}}
{{- $names = append $names (ternary (trimPrefix "*" .) . (hasPrefix "*." .)) -}}
{{- end -}}
{{ uniq $names | join "," }}
{{- end }}

{{- define "tandem.siteUrl" -}}
{{- if .Values.django.siteUrl -}}
{{ .Values.django.siteUrl }}
{{- else if and .Values.web.enabled .Values.web.ingress.enabled -}}
{{ ternary "https" "http" (not (empty .Values.web.ingress.tlsSecret)) }}://{{ first .Values.web.ingress.hosts }}/
{{- else if .Values.web.enabled -}}
http://{{ include "tandem.name" (list . "web") }}.{{ .Release.Namespace }}.svc/
{{- end }}
{{- end }}

{{- /* The environment of every Django container. Takes a dict of root, options, and admin: may it ask Restate's admin. */ -}}
{{- define "tandem.environment" -}}
{{- $root := .root -}}
- name: DJANGO_SETTINGS_MODULE
  value: {{ .options.settingsModule | default $root.Values.django.settingsModule }}
{{ include "tandem.secretEnvironment" (include "tandem.secrets" $root | fromJsonArray) | trim }}
{{- with include "tandem.restateIngressUrl" $root }}
- name: TANDEM_RESTATE_INGRESS_URL
  value: {{ . | quote }}
{{- end }}
{{- with $root.Values.restate.prefix }}
- name: TANDEM_RESTATE_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- if .admin }}
{{- with include "tandem.restateAdminUrl" $root }}
- name: TANDEM_RESTATE_ADMIN_URL
  value: {{ . | quote }}
{{- end }}
{{- end }}
- name: TANDEM_ROUTES
  value: {{ include "tandem.routes" $root | quote }}
- name: TANDEM_SCALED_TO_ZERO
  value: {{ include "tandem.scaledToZero" $root | quote }}
- name: ALLOWED_HOSTS
  value: {{ include "tandem.hosts" $root | quote }}
- name: CSRF_TRUSTED_ORIGINS
  value: {{ include "tandem.origins" $root | quote }}
- name: TANDEM_SITE_URL
  value: {{ include "tandem.siteUrl" $root | quote }}
{{- if $root.Values.media.enabled }}
- name: MEDIA_ROOT
  value: {{ $root.Values.media.mountPath | quote }}
{{- end }}
- name: TANDEM_LOG_LEVEL
  value: {{ $root.Values.logLevel }}
- name: HOME
  value: /tmp
- name: MPLCONFIGDIR
  value: /tmp/matplotlib
{{- with concat $root.Values.extraEnv (.options.extraEnv | default list) }}
{{ toYaml . }}
{{- end }}
{{- end }}
