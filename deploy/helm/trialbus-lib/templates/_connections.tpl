{{- /* How a process finds NATS and MongoDB: environment, volumes and mounts. Takes (root, seed):
seed is the identity on the bus; empty: none is needed. */ -}}

{{- define "trialbus-lib.natsUrl" -}}
{{- $host := include "trialbus-lib.host" (dict "root" . "name" "nats") }}
{{- .Values.global.nats.url | default (printf "nats://%s:4222" $host) }}
{{- end }}

{{- define "trialbus-lib.natsEnvironment" -}}
{{- $nats := .root.Values.global.nats }}
- name: TRIALBUS_NATS_URL
  value: {{ include "trialbus-lib.natsUrl" .root | quote }}
- name: TRIALBUS_NATS_REPLICAS
  value: {{ $nats.members | quote }}
- name: TRIALBUS_NATS_EVENT_BYTES
  value: {{ int64 $nats.eventBytes | quote }}
{{- if $nats.keysSecret }}
- name: TRIALBUS_NATS_SEED_FILE
  value: /etc/trialbus/nats-key/seed
{{- end }}
{{- if $nats.tlsSecret }}
- name: TRIALBUS_NATS_TLS_CA
  value: /etc/trialbus/nats-tls/ca.crt
{{- if $nats.verifyClients }}
- name: TRIALBUS_NATS_TLS_CERT
  value: /etc/trialbus/nats-tls/tls.crt
- name: TRIALBUS_NATS_TLS_KEY
  value: /etc/trialbus/nats-tls/tls.key
{{- end }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.natsMounts" -}}
{{- if .root.Values.global.nats.keysSecret }}
- name: nats-key
  mountPath: /etc/trialbus/nats-key
  readOnly: true
{{- end }}
{{- if .root.Values.global.nats.tlsSecret }}
- name: nats-tls
  mountPath: /etc/trialbus/nats-tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "trialbus-lib.natsVolumes" -}}
{{- with .root.Values.global.nats.keysSecret }}
- name: nats-key
  secret:
    secretName: {{ . }}
    defaultMode: 0400
    items:
      - key: {{ $.seed }}.seed
        path: seed
{{- end }}
{{- with .root.Values.global.nats.tlsSecret }}
- name: nats-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0400
{{- end }}
{{- end }}

{{- /* host:port of each member of our own replica set, with commas. */ -}}
{{- define "trialbus-lib.mongodbHosts" -}}
{{- $hosts := list }}
{{- range until (int .Values.global.mongodb.members) }}
{{- $pod := include "trialbus-lib.name" (dict "root" $ "name" (printf "mongodb-%d" .)) }}
{{- $members := include "trialbus-lib.host" (dict "root" $ "name" "mongodb-members") }}
{{- $hosts = append $hosts (printf "%s.%s:27017" $pod $members) }}
{{- end }}
{{- join "," $hosts }}
{{- end }}

{{- define "trialbus-lib.mongodbEnvironment" -}}
{{- $mongodb := .root.Values.global.mongodb }}
- name: TRIALBUS_MONGO_DATABASE
  value: {{ $mongodb.database | quote }}
{{- if $mongodb.urlSecret.name }}
- name: TRIALBUS_MONGO_URL
  valueFrom:
    secretKeyRef:
      name: {{ $mongodb.urlSecret.name }}
      key: {{ $mongodb.urlSecret.key }}
{{- else }}
{{- $options := list "replicaSet=trialbus" }}
{{- $user := "" }}
{{- if $mongodb.authSecret }}
{{- $user = "trialbus:$(MONGODB_PASSWORD)@" }}
{{- $options = append $options "authSource=admin" }}
- name: MONGODB_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $mongodb.authSecret }}
      key: password
{{- end }}
{{- if $mongodb.tlsSecret }}
{{- $options = concat $options (list "tls=true" "tlsCAFile=/etc/trialbus/mongodb-tls/ca.crt") }}
{{- end }}
{{- $hosts := include "trialbus-lib.mongodbHosts" .root }}
- name: TRIALBUS_MONGO_URL
  value: {{ printf "mongodb://%s%s/?%s" $user $hosts (join "&" $options) | quote }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.mongodbMounts" -}}
{{- if .root.Values.global.mongodb.tlsSecret }}
- name: mongodb-tls
  mountPath: /etc/trialbus/mongodb-tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "trialbus-lib.mongodbVolumes" -}}
{{- with .root.Values.global.mongodb.tlsSecret }}
- name: mongodb-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0400
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- end }}
