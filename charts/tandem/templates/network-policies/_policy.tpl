{{- /* The beginning of an ingress policy. Takes a list of root and component. */ -}}
{{- define "tandem.ingressPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "tandem.name" . }}
  namespace: {{ (index . 0).Release.Namespace }}
  labels:
    {{- include "tandem.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "tandem.selector" . | nindent 6 }}
  policyTypes: [Ingress]
{{- end }}

{{- /* Pods of this release, as one peer. Takes a list of root and components. */ -}}
{{- define "tandem.peers" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: tandem
      app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
    matchExpressions:
      - key: app.kubernetes.io/component
        operator: In
        values: [{{ join ", " (index . 1) }}]
{{- end }}
