{{- /* Environment of the launcher beyond that of every service. Takes the root. */ -}}

{{- define "trial-launcher.environment" -}}
{{- $gateway := .Values.global.gateway }}
{{- $host := include "trialbus-lib.host" (dict "root" $ "name" "gateway") }}
{{- $scheme := ternary "https" "http" (ne $gateway.tlsSecret "") }}
{{- $url := $gateway.trialUrl | default (printf "%s://%s" $scheme $host) }}
{{- if and .Values.wrapper.enabled (not (hasPrefix "http://" (lower $url))) }}
{{- fail "the wrapper speaks http:// alone, no https: give trials another address (global.gateway.trialUrl), or set wrapper.enabled to false" }}
{{- end }}
- name: TRIALBUS_TRIAL_KEY_FILE
  value: /etc/trialbus/trial-key/{{ $gateway.trialKeySecret.key }}
- name: TRIALBUS_TRIAL_GATEWAY_URL
  value: {{ $url | quote }}
- name: TRIALBUS_TRIAL_GATEWAY_GRPC
  value: {{ $gateway.trialGrpc | default (printf "%s:6789" $host) | quote }}
- name: TRIALBUS_WRAPPER_IMAGE
  {{- $image := include "trialbus-lib.image" (dict "root" $ "image" .Values.wrapper.image) }}
  value: {{ .Values.wrapper.enabled | ternary $image "" | quote }}
- name: TRIALBUS_DEFAULT_TRIAL_IMAGE
  {{- $trainer := include "trialbus-lib.image" (dict "root" $ "image" .Values.trainer.image) }}
  value: {{ .Values.trainer.enabled | ternary $trainer "" | quote }}
{{- end }}
