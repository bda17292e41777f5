{{- /* Grafana's provisioning file of the gateway. Its dashboards look for the name Trialbus. A uid has
40 characters at the most. */ -}}

{{- define "trialbus.dataSource" -}}
{{- $instance := include "trialbus-lib.instance" . }}
{{- $scheme := ternary "https" "http" (ne .Values.global.gateway.tlsSecret "") }}
apiVersion: 1
datasources:
  - name: Trialbus experiments ({{ $instance }})
    uid: trialbus-{{ sha256sum $instance | trunc 12 }}
    type: prometheus
    access: proxy
    url: {{ $scheme }}://{{ include "trialbus-lib.host" (dict "root" $ "name" "gateway") }}/prometheus
    jsonData:
      httpMethod: GET
      {{- with .Values.monitoring.dataSource.tokenVariable }}
      httpHeaderName1: Authorization
    secureJsonData:
      # Out of Grafana's own environment.
      httpHeaderValue1: Bearer ${{ . }}
      {{- end }}
{{- end }}
