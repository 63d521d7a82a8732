{{- /* Takes a list of a scaling's path and its values. */ -}}
{{- define "tandem.checkScaling" -}}
{{- $scaling := index . 1 -}}
{{- if and (kindIs "invalid" $scaling.replicas) (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- fail (printf "%s.minReplicas is %v, which is above maxReplicas, %v." (index . 0) $scaling.minReplicas $scaling.maxReplicas) -}}
{{- end -}}
{{- end -}}
