{{- /* Takes a list of a scaling's path and its values. */ -}}
{{- define "tandem.checkScaling" -}}
{{- $scaling := index . 1 -}}
{{- if and (kindIs "invalid" $scaling.replicas) (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- fail (printf "%s.minReplicas is %v, which is above maxReplicas, %v." (index . 0) $scaling.minReplicas $scaling.maxReplicas) -}}
{{- end -}}
{{- end -}}

{{- /* The names of those pools or services that are enabled. Takes a list of them and their defaults. */ -}}
{{- define "tandem.enabledOf" -}}
{{- $found := list -}}
{{- $defaults := index . 1 -}}
{{- range $name, $given := index . 0 -}}
{{- if (mergeOverwrite (deepCopy $defaults) ($given | default dict)).enabled -}}
{{- $found = append $found $name -}}
{{- end -}}
{{- end -}}
{{ join ", " $found }}
{{- end -}}

{{- /* A quantity as a plain number: Kubernetes', Redis' (mb) or Restate's (MiB). */ -}}
{{- define "tandem.number" -}}
{{- $text := toString . -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- $factors := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776
  "kb" 1024 "mb" 1048576 "gb" 1073741824 "KB" 1e3 "MB" 1e6 "GB" 1e9 "KiB" 1024 "MiB" 1048576 "GiB" 1073741824 -}}
{{- mulf (trimSuffix $unit $text | trim | float64) (get $factors $unit) -}}
{{- end -}}

{{- /* No request is above its limit. Takes a list of a part's path and its resources. */ -}}
{{- define "tandem.checkResources" -}}
{{- $path := index . 0 -}}
{{- $requests := (index . 1).requests | default dict -}}
{{- range $name, $limit := (index . 1).limits -}}
{{- if hasKey $requests $name -}}
{{- $request := get $requests $name -}}
{{- if gt (include "tandem.number" $request | float64) (include "tandem.number" $limit | float64) -}}
{{- fail (printf "%s.resources.requests.%s is %v, which is above limits.%s, %v." $path $name $request $name $limit) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A server's memory is below its pod's limit. Takes a list of the value's path, the value and the resources. */ -}}
{{- define "tandem.checkMemory" -}}
{{- with ((index . 2).limits | default dict).memory -}}
{{- if ge (include "tandem.number" (index $ 1) | float64) (include "tandem.number" . | float64) -}}
{{- fail (printf "%s is %s, but must be below resources.limits.memory, %v, or the pod is killed when it is full." (index $ 0) (index $ 1) .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Nothing of a list has the name of another. Takes a list of what to say, the key that has the name, and the list. */ -}}
{{- define "tandem.checkTwice" -}}
{{- $key := index . 1 -}}
{{- $seen := dict -}}
{{- range index . 2 -}}
{{- $name := get . $key -}}
{{- if hasKey $seen $name -}}
{{- fail (printf (index $ 0) $name) -}}
{{- end -}}
{{- $_ := set $seen $name true -}}
{{- end -}}
{{- end -}}

{{- /* Takes a list of root, a component's path and its options. */ -}}
{{- define "tandem.checkVariables" -}}
{{- $environment := include "tandem.environment" (dict "root" (index . 0) "options" (index . 2) "admin" true) | fromYamlArray -}}
{{- $words := printf "The variable %%s is set twice for %s: by the chart, extraEnv or %s.extraEnv. Leave one of them." (index . 1) (index . 1) -}}
{{- include "tandem.checkTwice" (list $words "name" $environment) -}}
{{- end -}}

{{- /* What a server's volume is cannot be changed. Takes a list of root, component and its storage. */ -}}
{{- define "tandem.checkVolume" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $storage := index . 2 -}}
{{- $name := include "tandem.name" (list $root $component) -}}
{{- with lookup "apps/v1" "StatefulSet" $root.Release.Namespace $name -}}
{{- $claims := .spec.volumeClaimTemplates | default list -}}
{{- if ne (empty $claims) (not $storage.enabled) -}}
{{- fail (printf "%s.storage.enabled is %v, but StatefulSet %s was made with it %v, and Kubernetes cannot change that: set it back, or see \"What cannot change\" in docs/kubernetes.md." $component $storage.enabled $name (not (empty $claims))) -}}
{{- end -}}
{{- range $claims -}}
{{- include "tandem.checkClaim" (list (printf "%s.storage" $component) $storage (printf "StatefulSet %s" $name) .spec "ne") -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Takes a list of the values' path, the values, what has the claim, the claim's spec, and how its size may not compare. */ -}}
{{- define "tandem.checkClaim" -}}
{{- $path := index . 0 -}}
{{- $wanted := index . 1 -}}
{{- $there := index . 3 -}}
{{- $words := printf "%s.%%s is %%v, but %s has %%v, and Kubernetes cannot change that: set it back, or see \"What cannot change\" in docs/kubernetes.md." $path (index . 2) -}}
{{- $size := include "tandem.number" $wanted.size | float64 -}}
{{- $before := include "tandem.number" $there.resources.requests.storage | float64 -}}
{{- if ternary (ne $size $before) (lt $size $before) (eq (index . 4) "ne") -}}
{{- fail (printf $words "size" $wanted.size $there.resources.requests.storage) -}}
{{- end -}}
{{- $class := $there.storageClassName | default "" -}}
{{- if and (ne $wanted.storageClassName $class) (or $wanted.storageClassName (eq (index . 4) "ne")) -}}
{{- fail (printf $words "storageClassName" (quote $wanted.storageClassName) (quote $class)) -}}
{{- end -}}
{{- end -}}

{{- /* No argument is one that the chart gives. Takes a list of a part's path, its extraArgs, and the options' names. */ -}}
{{- define "tandem.checkArguments" -}}
{{- range index . 1 -}}
{{- $option := regexFind "^--[a-z-]+" . -}}
{{- if and $option (has (trimPrefix "--" $option) (index $ 2)) -}}
{{- fail (printf "%s.extraArgs has %s, which the chart gives: leave it out." (index $ 0) $option) -}}
{{- end -}}
{{- end -}}
{{- end -}}
