{{- /* Who may talk to whom. Context of a service: (root, name, http, grpc, api, reachesApi, calls,
trials). reachesApi: whether it talks to the API server, if without a token of its own; calls:
services that it calls by gRPC; trials: whether it reaches into the pods of trials. */ -}}

{{- define "trialbus-lib.dnsRule" -}}
{{- with .Values.global.networkPolicy.dns }}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}
{{- end }}

{{- /* To one of our own: (root, name, port). */ -}}
{{- define "trialbus-lib.peerRule" -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "trialbus-lib.selectorLabels" . | nindent 10 }}
  ports:
    - {protocol: TCP, port: {{ .port }}}
{{- end }}

{{- /* To somebody elsewhere: (peers, ports). No peers: anybody. */ -}}
{{- define "trialbus-lib.outsideRule" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "trialbus-lib.natsRule" -}}
{{- if .Values.global.nats.url }}
{{- $peers := .Values.global.networkPolicy.externalNats }}
{{- include "trialbus-lib.outsideRule" (dict "peers" $peers "ports" (list 4222)) }}
{{- else }}
{{- include "trialbus-lib.peerRule" (dict "root" . "name" "nats" "port" 4222) }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.mongodbRule" -}}
{{- if .Values.global.mongodb.urlSecret.name }}
{{- $peers := .Values.global.networkPolicy.externalMongodb }}
{{- include "trialbus-lib.outsideRule" (dict "peers" $peers "ports" (list 27017)) }}
{{- else }}
{{- include "trialbus-lib.peerRule" (dict "root" . "name" "mongodb" "port" 27017) }}
{{- end }}
{{- end }}

{{- /* To the collector of traces, on the port that its address names. */ -}}
{{- define "trialbus-lib.tracingRule" -}}
{{- with .Values.global.tracing.endpoint }}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- $port = $port | default (eq $url.scheme "https" | ternary "443" "80") }}
{{- $peers := $.Values.global.networkPolicy.tracing }}
{{- include "trialbus-lib.outsideRule" (dict "peers" $peers "ports" (list $port)) }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.monitoringRule" -}}
{{- with .root.Values.global.networkPolicy.monitoring }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ $.port }}}
{{- end }}
{{- end }}

{{- /* The pods of this installation's trials, in whatever namespace. */ -}}
{{- define "trialbus-lib.trialPods" -}}
podSelector:
  matchLabels:
    app.kubernetes.io/managed-by: trialbus
    trialbus.io/instance: {{ include "trialbus-lib.instance" . }}
{{- end }}

{{- define "trialbus-lib.ingressRules" -}}
{{- include "trialbus-lib.monitoringRule" (dict "root" .root "port" 8081) }}
{{- if .http }}
- ports:
    - {protocol: TCP, port: 8080}
    - {protocol: TCP, port: 6789}
  {{- with .root.Values.ingressFrom }}
  from:
    - namespaceSelector: {}
      {{- include "trialbus-lib.trialPods" $.root | nindent 6 }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- else if .grpc }}
- from:
    - podSelector:
        matchLabels:
          {{- include "trialbus-lib.selectorLabels" (merge (dict "name" "gateway") .) | nindent 10 }}
  ports:
    - {protocol: TCP, port: 6789}
{{- end }}
{{- end }}

{{- define "trialbus-lib.egressRules" -}}
{{- $policy := .root.Values.global.networkPolicy }}
{{- include "trialbus-lib.dnsRule" .root }}
{{ include "trialbus-lib.natsRule" .root }}
{{ include "trialbus-lib.mongodbRule" .root }}
{{- with include "trialbus-lib.tracingRule" .root }}
{{ . | trim }}
{{- end }}
{{- range .calls }}
{{ include "trialbus-lib.peerRule" (dict "root" $.root "name" . "port" 6789) }}
{{- end }}
{{- if or .api .reachesApi }}
{{ include "trialbus-lib.outsideRule" (dict "peers" $policy.apiServer "ports" $policy.apiServerPorts) }}
{{- end }}
{{- if .trials }}
- to:
    - namespaceSelector: {}
      {{- include "trialbus-lib.trialPods" .root | nindent 6 }}
{{- end }}
{{- with .root.Values.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.networkPolicy" -}}
{{- if .root.Values.global.networkPolicy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "trialbus-lib.metadata" . }}
spec:
  podSelector:
    matchLabels:
      {{- include "trialbus-lib.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with include "trialbus-lib.ingressRules" . | trim }}
  ingress:
    {{- . | nindent 4 }}
  {{- else }}
  ingress: []
  {{- end }}
  egress:
    {{- include "trialbus-lib.egressRules" . | trim | nindent 4 }}
{{- end }}
{{- end }}

{{- /* From the services to a server of our own: (root, port, more): more: names of jobs. */ -}}
{{- define "trialbus-lib.clientsRule" -}}
{{- $services := list "gateway" "experiment" "suggestion" "trial-launcher" "metrics-collector" }}
- from:
    - podSelector:
        matchLabels:
          app.kubernetes.io/instance: {{ include "trialbus-lib.prefix" .root }}
        matchExpressions:
          - key: app.kubernetes.io/name
            operator: In
            values: {{ concat $services (list "early-stopping") .more | toJson }}
  ports:
    - {protocol: TCP, port: {{ .port }}}
{{- end }}

{{- /* Of a job: nobody calls it, and it calls one server: (root, name, rules). */ -}}
{{- define "trialbus-lib.jobNetworkPolicy" -}}
{{- if .root.Values.global.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "trialbus-lib.metadata" . }}
spec:
  podSelector:
    matchLabels:
      {{- include "trialbus-lib.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress:
    {{- include "trialbus-lib.dnsRule" .root | nindent 4 }}
    {{- .rules | nindent 4 }}
{{- end }}
{{- end }}
