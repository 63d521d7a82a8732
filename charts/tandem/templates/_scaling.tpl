{{- /* One pod for each `concurrency` executions that wait or run. Takes a dict of root, name, labels, scaling, concurrency
     and url. */ -}}
{{- define "tandem.scaledObject" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- .labels | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ .name }}
  minReplicaCount: {{ .scaling.minReplicas }}
  maxReplicaCount: {{ .scaling.maxReplicas }}
  pollingInterval: {{ .scaling.pollingInterval }}
  cooldownPeriod: {{ .scaling.cooldownPeriod }}
  # An exporter that does not answer never makes a busy pool smaller.
  fallback:
    failureThreshold: 3
    replicas: {{ .scaling.fallbackReplicas }}
    behavior: currentReplicasIfHigher
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          stabilizationWindowSeconds: {{ .scaling.cooldownPeriod }}
  triggers:
    - type: metrics-api
      metadata:
        url: {{ .url | quote }}
        valueLocation: "work"
        targetValue: {{ .concurrency | quote }}
{{- end }}
