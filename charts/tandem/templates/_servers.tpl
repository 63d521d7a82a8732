{{- /* The one volume of a server's pod, as a claim or empty. Takes a list of storage and the volume's name. */ -}}
{{- define "tandem.volumeClaim" -}}
{{- $storage := index . 0 -}}
{{- if $storage.enabled -}}
volumeClaimTemplates:
  - metadata:
      name: {{ index . 1 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with $storage.storageClassName }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ $storage.size }}
{{- end }}
{{- end }}

{{- /* A server's ServiceAccount. Takes a list of root and component. */ -}}
{{- define "tandem.serverAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "tandem.name" . }}
  namespace: {{ (index . 0).Release.Namespace }}
  labels:
    {{- include "tandem.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end }}
