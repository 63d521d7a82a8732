{{- /* A node's settings, those of the values among them. */ -}}
{{- define "tandem.restateEnvironment" -}}
{{- $restate := .Values.restate -}}
{{- $name := include "tandem.name" (list . "restate") -}}
{{- $nodes := include "tandem.name" (list . "restate-nodes") -}}
- name: POD_NAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
- name: RESTATE_NODE_NAME
  value: $(POD_NAME)
- name: RESTATE_CLUSTER_NAME
  value: {{ $name }}
- name: RESTATE_BASE_DIR
  value: /restate-data
- name: RESTATE_LISTEN_MODE
  value: tcp
- name: RESTATE_BIND_ADDRESS
  value: 0.0.0.0:5122
- name: RESTATE_INGRESS__BIND_ADDRESS
  value: 0.0.0.0:8080
- name: RESTATE_ADMIN__BIND_ADDRESS
  value: 0.0.0.0:9070
- name: RESTATE_ADVERTISED_ADDRESS
  value: http://$(POD_NAME).{{ $nodes }}.{{ .Release.Namespace }}.svc:5122
{{- if gt (int $restate.nodes) 1 }}
- name: RESTATE_METADATA_CLIENT__ADDRESSES
  {{- $addresses := list }}
  {{- range $node := until (int $restate.nodes) }}
  {{- $addresses = append $addresses (printf "http://%s-%d.%s.%s.svc:5122" $name $node $nodes $.Release.Namespace) }}
  {{- end }}
  value: {{ toJson $addresses | squote }}
- name: RESTATE_DEFAULT_REPLICATION
  value: "2"
{{- end }}
# A deleted pod's address answers nothing: at the default its calls wait for 10 s longer.
- name: RESTATE_WORKER__INVOKER__CONNECT_TIMEOUT
  value: 1s
- name: RESTATE_DEFAULT_NUM_PARTITIONS
  value: {{ $restate.partitions | quote }}
- name: RESTATE_ROCKSDB_TOTAL_MEMORY_SIZE
  value: {{ $restate.memory | quote }}
{{- if include "tandem.identitySecret" . }}
- name: RESTATE_WORKER__INVOKER__REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE
  value: /etc/restate-identity/private.pem
{{- end }}
{{- range $variable, $value := $restate.environment }}
- name: {{ $variable }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
