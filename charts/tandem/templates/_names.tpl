{{- define "tandem.fullname" -}}
{{ .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{- /* The name of a component's objects. Takes a list of root and component. */ -}}
{{- define "tandem.name" -}}
{{ include "tandem.fullname" (index . 0) }}-{{ index . 1 }}
{{- end }}

{{- /* What selects a component's pods. Takes a list of root and component. */ -}}
{{- define "tandem.selector" -}}
app.kubernetes.io/name: tandem
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* An object's labels. Takes a list of root and component. */ -}}
{{- define "tandem.labels" -}}
{{- $root := index . 0 -}}
{{ include "tandem.selector" . }}
app.kubernetes.io/part-of: tandem
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A pod's labels: what selects it and what its component asks for. Takes a list of root, component and options.
     No versions: a new chart with the same pods would roll them out. */ -}}
{{- define "tandem.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "tandem.selector" (list $root (index . 1)) }}
app.kubernetes.io/part-of: tandem
{{- with merge (dict) (index . 2).podLabels $root.Values.podLabels $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* An image's whole name. Takes a list of root and an image's values. */ -}}
{{- define "tandem.image" -}}
{{- $image := index . 1 -}}
{{ $image.repository }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "tandem.djangoServiceAccount" -}}
{{ .Values.serviceAccount.name | default (include "tandem.fullname" .) }}
{{- end }}

{{- define "tandem.databaseSecret" -}}
{{ .Values.database.existingSecret | default (include "tandem.name" (list . "postgres")) }}
{{- end }}

{{- define "tandem.brokerSecret" -}}
{{ .Values.broker.existingSecret | default (include "tandem.name" (list . "redis")) }}
{{- end }}

{{- define "tandem.secretKeySecret" -}}
{{ .Values.django.secretKey.existingSecret | default (include "tandem.name" (list . "django")) }}
{{- end }}

{{- /* Where Restate's key is, and what services check requests by. Empty: requests are not signed. */ -}}
{{- define "tandem.identitySecret" -}}
{{- if .Values.restate.identity.existingSecret -}}
{{ .Values.restate.identity.existingSecret }}
{{- else if and .Values.restate.enabled .Values.restate.identity.generate -}}
{{ include "tandem.name" (list . "restate-identity") }}
{{- end }}
{{- end }}

{{- define "tandem.mediaClaim" -}}
{{ .Values.media.existingClaim | default (include "tandem.name" (list . "media")) }}
{{- end }}

{{- define "tandem.restateIngressUrl" -}}
{{- if .Values.restate.enabled -}}
http://{{ include "tandem.name" (list . "restate") }}:8080
{{- else -}}
{{ .Values.restate.ingressUrl }}
{{- end }}
{{- end }}

{{- define "tandem.restateAdminUrl" -}}
{{- if .Values.restate.enabled -}}
http://{{ include "tandem.name" (list . "restate-admin") }}:9070
{{- else -}}
{{ .Values.restate.adminUrl }}
{{- end }}
{{- end }}

{{- /* Where KEDA, in another namespace, finds the exporter. */ -}}
{{- define "tandem.scalingUrl" -}}
http://{{ include "tandem.name" (list . "exporter") }}.{{ .Release.Namespace }}.svc:8082/scaling
{{- end }}

{{- /* A random word that stays: the one in the Secret if there is one. Takes a list of root, Secret, key, given value. */ -}}
{{- define "tandem.kept" -}}
{{- $root := index . 0 -}}
{{- $known := lookup "v1" "Secret" $root.Release.Namespace (index . 1) -}}
{{- if index . 3 -}}
{{ index . 3 }}
{{- else if hasKey ($known.data | default dict) (index . 2) -}}
{{ index $known.data (index . 2) | b64dec }}
{{- else -}}
{{ randAlphaNum 50 }}
{{- end }}
{{- end }}
