{{- /* mongod's configuration. Takes the root. */ -}}

{{- define "mongodb.configuration" -}}
{{- $mongodb := .Values.global.mongodb }}
net:
  port: 27017
  bindIpAll: true
  ipv6: {{ contains ":" .Values.global.listenOn }}
  unixDomainSocket:
    enabled: false
{{- if $mongodb.tlsSecret }}
  tls:
    mode: requireTLS
    certificateKeyFile: /etc/mongodb-tls/tls-combined.pem
    CAFile: /etc/mongodb-tls/ca.crt
    allowConnectionsWithoutCertificates: true
{{- end }}
replication:
  replSetName: trialbus
  oplogSizeMB: {{ .Values.oplogMb }}
storage:
  dbPath: /data
  wiredTiger:
    engineConfig:
      cacheSizeGB: {{ .Values.cacheGb }}
security:
  javascriptEnabled: false
{{- if $mongodb.authSecret }}
  keyFile: /run/mongodb-key/keyfile
{{- end }}
{{- end }}
