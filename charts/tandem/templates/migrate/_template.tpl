{{- /* Apart from the Job, whose name it is part of. */ -}}
{{- define "tandem.migrateTemplate" -}}
{{- $options := .Values.migrations -}}
metadata:
  labels:
    {{- include "tandem.podLabels" (list . "migrate" $options) | nindent 4 }}
  {{- with include "tandem.podAnnotations" (list . $options) }}
  {{- . | nindent 2 }}
  {{- end }}
spec:
  {{- include "tandem.podBase" (dict "root" . "options" $options "runAs" .Values.runAs
    "serviceAccount" (include "tandem.djangoServiceAccount" .)) | nindent 2 }}
  restartPolicy: Never
  initContainers:
    {{- include "tandem.checks" (dict "root" . "options" $options "withoutMigrations" true) | nindent 4 }}
  containers:
    - name: migrate
      image: {{ include "tandem.image" (list . .Values.image) }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [python, -m, django]
      args: [tandem, migrate]
      {{- include "tandem.djangoContainer" (dict "root" . "options" $options "admin" false) | nindent 6 }}
  volumes:
    {{- include "tandem.djangoVolumes" . | nindent 4 }}
{{- end }}
