{{- /* What every container of the project's image has. Takes a dict of root, options and admin. */ -}}
{{- define "tandem.djangoContainer" -}}
{{- $values := .root.Values -}}
env:
  {{- include "tandem.environment" . | nindent 2 }}
{{- with $values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
terminationMessagePolicy: FallbackToLogsOnError
resources:
  {{- toYaml .options.resources | nindent 2 }}
securityContext:
  {{- include "tandem.containerSecurity" . | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if $values.media.enabled }}
  - name: media
    mountPath: {{ $values.media.mountPath }}
  {{- end }}
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "tandem.djangoVolumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmpSize }}
{{- if .Values.media.enabled }}
- name: media
  persistentVolumeClaim:
    claimName: {{ include "tandem.mediaClaim" . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Alive: its own loop turns. Ready: it can work. Takes a dict of root, port (its name) and ports. */ -}}
{{- define "tandem.probes" -}}
startupProbe:
  exec:
    command:
      - python
      - -IS
      - -c
      - |
        {{- .root.Files.Get "files/started.py" | required "The chart has no files/started.py." | nindent 8 }}
      - {{ get .ports .port | quote }}
      - {{ .root.Values.startupSeconds | quote }}
  timeoutSeconds: {{ .root.Values.startupSeconds }}
  failureThreshold: 1
livenessProbe:
  httpGet: {path: /-/alive, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /-/ready, port: {{ .port }}}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 3
{{- end }}

{{- /* The template of a Django process's pods. Takes a dict of root, component, options, args, ports (of name to number),
     probe (a port's name), admin, graceSeconds, extraSelector (more labels), preStop, revisions, and a service's share. */ -}}
{{- define "tandem.djangoTemplate" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "tandem.podLabels" (list $root .component .options) | nindent 4 }}
    {{- with .extraSelector }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "tandem.podAnnotations" (list $root .options) }}
  {{- . | nindent 2 }}
  {{- end }}
spec:
  {{- include "tandem.podBase" (dict "root" $root "options" .options "runAs" $root.Values.runAs
    "serviceAccount" (include "tandem.djangoServiceAccount" $root)) | nindent 2 }}
  {{- $selector := include "tandem.selector" (list $root .component) -}}
  {{- with .extraSelector }}
  {{- $selector = printf "%s\n%s" $selector (toYaml .) }}
  {{- end }}
  {{- with include "tandem.spread" (dict "root" $root "selector" $selector
    "revisions" (.revisions | default "pod-template-hash")) }}
  {{- . | nindent 2 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .graceSeconds }}
  initContainers:
    {{- include "tandem.checks" (pick . "root" "options" "share") | nindent 4 }}
  containers:
    - name: {{ .component }}
      image: {{ include "tandem.image" (list $root $root.Values.image) }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command:
        {{- toYaml $root.Values.command | nindent 8 }}
      args:
        {{- toYaml .args | nindent 8 }}
      ports:
        {{- range $name, $number := .ports }}
        - name: {{ $name }}
          containerPort: {{ $number }}
        {{- end }}
      {{- include "tandem.probes" (dict "root" $root "port" .probe "ports" .ports) | nindent 6 }}
      {{- with .preStop }}
      lifecycle:
        preStop:
          {{- toYaml . | nindent 10 }}
      {{- end }}
      {{- include "tandem.djangoContainer" . | nindent 6 }}
  volumes:
    {{- include "tandem.djangoVolumes" $root | nindent 4 }}
{{- end }}
