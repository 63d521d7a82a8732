{{- define "registrar.fullname" -}}
{{ .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{- define "registrar.selector" -}}
app.kubernetes.io/name: tandem-registrar
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "registrar.labels" -}}
{{ include "registrar.selector" . }}
app.kubernetes.io/part-of: tandem
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "registrar.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* A file of the chart that must be there. Takes a list of root and path. */ -}}
{{- define "registrar.file" -}}
{{ (index . 0).Files.Get (index . 1) | required (printf "The chart has no %s." (index . 1)) }}
{{- end }}
