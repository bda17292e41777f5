{{- /* nats-server's configuration. Takes the root. */ -}}

{{- define "nats.tlsBlock" -}}
tls {
  cert_file: "/etc/nats-tls/tls.crt"
  key_file: "/etc/nats-tls/tls.key"
  ca_file: "/etc/nats-tls/ca.crt"
  verify: {{ .verify }}
}
{{- end }}

{{- define "nats.address" -}}
{{ contains ":" .Values.global.listenOn | ternary (printf "[%s]" .Values.global.listenOn) .Values.global.listenOn }}
{{- end }}

{{- define "nats.configuration" -}}
{{- $nats := .Values.global.nats }}
{{- $address := include "nats.address" . }}
server_name: $POD_NAME
listen: "{{ $address }}:4222"
# The monitoring endpoint asks nobody who they are: a NetworkPolicy says who reaches it.
http: "{{ $address }}:8222"
max_payload: 1048576
jetstream {
  store_dir: "/data"
  max_file_store: {{ .Values.maxFileStore }}
  max_memory_store: {{ .Values.maxMemoryStore }}
  sync_interval: {{ .Values.syncInterval | quote }}
}
{{- if $nats.keysSecret }}
include "./accounts.conf"
{{- end }}
{{- if $nats.tlsSecret }}
{{ include "nats.tlsBlock" (dict "verify" $nats.verifyClients) }}
{{- end }}
{{- if gt (int $nats.members) 1 }}
cluster {
  name: {{ include "trialbus-lib.instance" . }}
  listen: "{{ $address }}:6222"
  # Certificates are for names; clients and servers go by those.
  no_advertise: true
  routes: [
    {{- range until (int $nats.members) }}
    {{- $pod := include "trialbus-lib.name" (dict "root" $ "name" (printf "nats-%d" .)) }}
    {{- $members := include "trialbus-lib.host" (dict "root" $ "name" "nats-members") }}
    "nats-route://{{ $pod }}.{{ $members }}:6222"
    {{- end }}
  ]
  {{- if $nats.tlsSecret }}
  {{- include "nats.tlsBlock" (dict "verify" true) | nindent 2 }}
  {{- end }}
}
{{- end }}
{{- end }}
