{{- /* One pod of a component at a time may be evicted, and one that is not ready always. Takes a list of root and component. */ -}}
{{- define "tandem.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "tandem.name" . }}
  namespace: {{ (index . 0).Release.Namespace }}
  labels:
    {{- include "tandem.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "tandem.selector" . | nindent 6 }}
{{- end }}
