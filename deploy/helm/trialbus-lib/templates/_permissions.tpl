{{- /* Made by docs/generate.py; `make generate` makes it again. */ -}}
{{- define "trialbus-lib.rules.gateway" -}}
{{- if .customResources }}
# take what people apply, and show there what was made or changed elsewhere
- apiGroups: ["kubeflow.org"]
  resources: ["experiments"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
{{- end }}
{{- if .customResources }}
# show states and results
- apiGroups: ["kubeflow.org"]
  resources: ["experiments/status"]
  verbs: ["patch"]
{{- end }}
{{- if .customResources }}
# show what the algorithm was asked and answered
- apiGroups: ["kubeflow.org"]
  resources: ["suggestions"]
  verbs: ["get", "create", "patch"]
{{- end }}
{{- if .customResources }}
# show states and results
- apiGroups: ["kubeflow.org"]
  resources: ["suggestions/status"]
  verbs: ["patch"]
{{- end }}
{{- if .customResources }}
# show the trials, as many as Katib would keep
- apiGroups: ["kubeflow.org"]
  resources: ["trials"]
  verbs: ["get", "list", "create", "patch", "delete"]
{{- end }}
{{- if .customResources }}
# show states and results
- apiGroups: ["kubeflow.org"]
  resources: ["trials/status"]
  verbs: ["patch"]
{{- end }}
{{- if .customResources }}
# know by a namespace's uid that this is still the cluster whose objects it keeps
- apiGroups: [""]
  resources: ["namespaces"]
  verbs: ["get"]
{{- end }}
{{- if .customResources }}
# read the trial templates that experiments only name
- apiGroups: [""]
  resources: ["configmaps"]
  verbs: ["get"]
{{- end }}
{{- if .customResources }}
# tell beside an object why it is refused
- apiGroups: [""]
  resources: ["events"]
  verbs: ["create"]
{{- end }}
{{- end }}

{{- define "trialbus-lib.clusterRules.gateway" -}}
{{- if .audience }}
# let the cluster say whose service account token a caller shows
- apiGroups: ["authentication.k8s.io"]
  resources: ["tokenreviews"]
  verbs: ["create"]
{{- end }}
{{- end }}

{{- define "trialbus-lib.rules.trial_launcher" -}}
{{- include "trialbus-lib.kindRules" .kinds }}
# tell exit codes, evictions, image errors and waiting for room apart
- apiGroups: [""]
  resources: ["pods"]
  verbs: ["list", "watch"]
# keep the end of a run's log, and follow metrics of pods without the wrapper
- apiGroups: [""]
  resources: ["pods/log"]
  verbs: ["get"]
{{- end }}

{{- define "trialbus-lib.clusterRules.trial_launcher" -}}
{{- end }}

{{- define "trialbus-lib.kindRules" -}}
{{- $known := "{\"Job\": {\"group\": \"batch\", \"resource\": \"jobs\"}, \"PyTorchJob\": {\"group\": \"kubeflow.org\", \"resource\": \"pytorchjobs\"}, \"TFJob\": {\"group\": \"kubeflow.org\", \"resource\": \"tfjobs\"}, \"MPIJob\": {\"group\": \"kubeflow.org\", \"resource\": \"mpijobs\"}, \"XGBoostJob\": {\"group\": \"kubeflow.org\", \"resource\": \"xgboostjobs\"}, \"TrainJob\": {\"group\": \"trainer.kubeflow.org\", \"resource\": \"trainjobs\"}, \"JobSet\": {\"group\": \"jobset.x-k8s.io\", \"resource\": \"jobsets\"}, \"RayJob\": {\"group\": \"ray.io\", \"resource\": \"rayjobs\"}, \"Workflow\": {\"group\": \"argoproj.io\", \"resource\": \"workflows\"}, \"PipelineRun\": {\"group\": \"tekton.dev\", \"resource\": \"pipelineruns\"}}" | fromJson }}
{{- range . }}
{{- $parts := splitn "." 2 . }}
{{- $other := dict "resource" $parts._0 "group" ($parts._1 | default "") }}
{{- $kind := get $known . | default $other }}
# make the objects of runs, follow them to their end, and remove them
- apiGroups: ["{{ $kind.group }}"]
  resources: ["{{ $kind.resource }}"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
{{- end }}
{{- end }}
