{{- /* A pod's security context under Pod Security "restricted". Takes user and group. */ -}}
{{- define "tandem.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .group }}
fsGroup: {{ .group }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* A container's security context under Pod Security "restricted". */ -}}
{{- define "tandem.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* The beginning of every pod's spec. Takes a dict of root, component, options, serviceAccount and, unless it is
     that of the servers' images, runAs. */ -}}
{{- define "tandem.podBase" -}}
{{- $values := .root.Values -}}
{{- $options := .options -}}
serviceAccountName: {{ .serviceAccount }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "tandem.podSecurity" (.runAs | default (dict "user" 1000 "group" 1000)) | nindent 2 }}
{{- with $options.nodeSelector | default $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $options.tolerations | default $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $options.affinity | default $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- /* Spread a component's pods. Takes a dict of root, selector and revisions: the label that tells revisions apart. */ -}}
{{- define "tandem.spread" -}}
{{- $selector := .selector -}}
{{- $revisions := .revisions -}}
{{- with .root.Values.topologyKeys -}}
topologySpreadConstraints:
  {{- range . }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
    matchLabelKeys: [{{ $revisions }}]
  {{- end }}
{{- end }}
{{- end }}

{{- define "tandem.podAnnotations" -}}
{{- with merge (dict) (index . 1).podAnnotations (index . 0).Values.podAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
