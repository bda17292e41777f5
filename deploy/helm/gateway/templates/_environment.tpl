{{- /* Environment of the gateway beyond that of every service. Takes the root. */ -}}

{{- define "gateway.environment" -}}
- name: TRIALBUS_HTTP_PORT
  value: "8080"
- name: TRIALBUS_CUSTOM_RESOURCES
  value: {{ .Values.customResources.enabled | quote }}
- name: TRIALBUS_TRIAL_KEY_FILE
  value: /etc/trialbus/trial-key/{{ .Values.global.gateway.trialKeySecret.key }}
{{- range list "suggestion" "metrics-collector" "early-stopping" }}
- name: TRIALBUS_{{ . | upper | replace "-" "_" }}_GRPC
  value: {{ include "trialbus-lib.host" (dict "root" $ "name" .) }}:6789
{{- end }}
{{- if .Values.tokensSecret.name }}
- name: TRIALBUS_TOKENS_FILE
  value: /etc/trialbus/tokens/{{ .Values.tokensSecret.key }}
{{- end }}
{{- if .Values.webhooksSecret.name }}
- name: TRIALBUS_WEBHOOKS_FILE
  value: /etc/trialbus/webhooks/{{ .Values.webhooksSecret.key }}
{{- end }}
{{- if .Values.global.gateway.tlsSecret }}
- name: TRIALBUS_TLS_CERT
  value: /etc/trialbus/tls/tls.crt
- name: TRIALBUS_TLS_KEY
  value: /etc/trialbus/tls/tls.key
{{- end }}
{{- end }}
