{{- /* What each entry of services that is enabled takes, as a JSON map; nothing is the rest. Takes the root. */ -}}
{{- define "tandem.takes" -}}
{{- $takes := dict -}}
{{- range $name, $given := .Values.services -}}
{{- $service := mergeOverwrite (deepCopy $.Values.serviceDefaults) ($given | default dict) -}}
{{- if $service.enabled -}}
{{- $_ := set $takes $name ($service.take | default list) -}}
{{- end -}}
{{- end -}}
{{ toJson $takes }}
{{- end }}

{{- /* How a process of an entry is told of its share, as a JSON list of words. Takes a list of root and the entry. */ -}}
{{- define "tandem.share" -}}
{{- $takes := include "tandem.takes" (index . 0) | fromJson -}}
{{- $words := list -}}
{{- range index $takes (index . 1) -}}
{{- $words = append $words (printf "--take=%s" .) -}}
{{- else -}}
{{- range $taken := values $takes -}}
{{- range $taken -}}
{{- $words = append $words (printf "--except=%s" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{ sortAlpha $words | toJson }}
{{- end }}

{{- /* Fails unless each service has one entry, and the rest has one. Takes the root. */ -}}
{{- define "tandem.checkShares" -}}
{{- $takes := include "tandem.takes" . | fromJson -}}
{{- $owners := dict -}}
{{- $rest := list -}}
{{- range $name, $taken := $takes -}}
{{- range $taken -}}
{{- if hasKey $owners . -}}
{{- fail (printf "services.%s.take and services.%s.take both have %q: only one can take it." (get $owners .) $name .) -}}
{{- end -}}
{{- $_ := set $owners . $name -}}
{{- else -}}
{{- $rest = append $rest (printf "services.%s" $name) -}}
{{- end -}}
{{- end -}}
{{- if gt (len $rest) 1 -}}
{{- fail (printf "%s have no take, so each would serve the same tasks and the one TaskTracker: give all but one a list of the apps and workflow tasks that it takes." (join " and " $rest)) -}}
{{- end -}}
{{- if and $takes (not $rest) -}}
{{- fail (printf "No entry of services takes the rest, and what has no service of its own: leave the take of one of %s out." (keys $takes | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
