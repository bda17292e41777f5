{{- /* What the Job that makes the replica set runs, and with which files. Takes the root. */ -}}

{{- define "mongodb.initiateContainer" -}}
command:
  - trialbus
  - initiate
  - --database={{ .Values.global.mongodb.database }}
  {{- range include "trialbus-lib.mongodbHosts" . | splitList "," }}
  - --member={{ . }}
  {{- end }}
  {{- if .Values.global.mongodb.authSecret }}
  - --key-file=/etc/mongodb-auth/keyfile
  - --password-file=/etc/mongodb-auth/password
  {{- end }}
  {{- if .Values.global.mongodb.tlsSecret }}
  - --tls-ca=/etc/trialbus/mongodb-tls/ca.crt
  {{- end }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.global.mongodb.authSecret }}
  - {name: auth, mountPath: /etc/mongodb-auth, readOnly: true}
  {{- end }}
  {{- include "trialbus-lib.mongodbMounts" (dict "root" .) | nindent 2 }}
{{- end }}

{{- define "mongodb.initiateVolumes" -}}
{{- with .Values.global.mongodb.authSecret }}
- name: auth
  secret:
    secretName: {{ . }}
    defaultMode: 0400
    items:
      - {key: keyfile, path: keyfile}
      - {key: password, path: password}
{{- end }}
{{- include "trialbus-lib.mongodbVolumes" (dict "root" .) }}
{{- end }}
