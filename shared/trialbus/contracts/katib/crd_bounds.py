"""What an Experiment's definition on a cluster asks for beside the models: fields that must be
there, and how long lists and texts may be, which is what the API server reckons the cost of its
rules with. Paths are as in `crd_rules`."""

from collections.abc import Mapping

from trialbus.kernel.limits import MAX_METRIC_FORMATS

# Without one of them nothing can be judged, and no rule is looked at.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "": ("spec",),
    "spec": ("objective", "algorithm"),
    "spec.objective": ("type", "objectiveMetricName"),
    "spec.objective.metricStrategies[]": ("name", "value"),
    "spec.algorithm": ("algorithmName",),
    "spec.earlyStopping": ("algorithmName",),
    "spec.parameters[]": ("name", "parameterType", "feasibleSpace"),
    "spec.nasConfig": ("graphConfig", "operations"),
    "spec.nasConfig.graphConfig": ("numLayers",),
    "spec.nasConfig.operations[]": ("operationType",),
    "spec.nasConfig.operations[].parameters[]": ("name", "parameterType", "feasibleSpace"),
    "spec.trialTemplate": ("primaryContainerName", "trialParameters"),
    "spec.trialTemplate.trialSpec": ("apiVersion", "kind"),
    "spec.trialTemplate.configMap": ("configMapName", "configMapNamespace", "templatePath"),
    "spec.trialTemplate.trialParameters[]": ("name", "reference"),
}
# Texts that say nothing when they are empty.
NOT_EMPTY = (
    "spec.objective.objectiveMetricName",
    "spec.objective.additionalMetricNames[]",
    "spec.algorithm.algorithmName",
    "spec.earlyStopping.algorithmName",
    "spec.parameters[].name",
    "spec.nasConfig.operations[].operationType",
    "spec.nasConfig.operations[].parameters[].name",
    "spec.trialTemplate.primaryContainerName",
    "spec.trialTemplate.trialSpec.apiVersion",
    "spec.trialTemplate.trialSpec.kind",
    "spec.trialTemplate.configMap.configMapName",
    "spec.trialTemplate.configMap.configMapNamespace",
    "spec.trialTemplate.configMap.templatePath",
    "spec.trialTemplate.trialParameters[].name",
    "spec.trialTemplate.trialParameters[].reference",
)
# Of these Katib takes an empty text for none.
EMPTY_IS_NONE = (
    "spec.resumePolicy",
    "spec.parameters[].feasibleSpace.distribution",
    "spec.nasConfig.operations[].parameters[].feasibleSpace.distribution",
    "spec.metricsCollectorSpec.collector.kind",
    "spec.metricsCollectorSpec.source.fileSystemPath.kind",
    "spec.metricsCollectorSpec.source.fileSystemPath.format",
)
# Far above what means anything.
MAX_ITEMS: Mapping[str, int] = {
    "spec.parameters": 1000,
    "spec.parameters[].feasibleSpace.list": 10_000,
    "spec.objective.additionalMetricNames": 100,
    "spec.objective.metricStrategies": 101,
    "spec.algorithm.algorithmSettings": 100,
    "spec.earlyStopping.algorithmSettings": 100,
    "spec.trialTemplate.trialParameters": 1000,
    "spec.metricsCollectorSpec.source.filter.metricsFormat": MAX_METRIC_FORMATS,
    "spec.metricsCollectorSpec.source.httpGet.httpHeaders": 100,
    "spec.nasConfig.operations": 100,
    "spec.nasConfig.graphConfig.inputSizes": 100,
    "spec.nasConfig.graphConfig.outputSizes": 100,
    "spec.nasConfig.operations[].parameters": 50,
    "spec.nasConfig.operations[].parameters[].feasibleSpace.list": 1000,
}
MIN_ITEMS: Mapping[str, int] = {"spec.nasConfig.operations": 1}
LEAST: Mapping[str, int] = {
    "spec.nasConfig.graphConfig.inputSizes[]": 1,
    "spec.nasConfig.graphConfig.outputSizes[]": 1,
}
# Of texts that a rule reads and the models leave open.
MAX_LENGTHS: Mapping[str, int] = {
    "spec.metricsCollectorSpec.source.fileSystemPath.path": 4096,
    "spec.metricsCollectorSpec.source.httpGet.path": 4096,
    "spec.metricsCollectorSpec.source.httpGet.host": 253,
    "spec.metricsCollectorSpec.source.httpGet.httpHeaders[].name": 256,
    "spec.metricsCollectorSpec.source.httpGet.httpHeaders[].value": 10_000,
    "spec.trialTemplate.trialParameters[].description": 10_000,
    "spec.trialTemplate.successCondition": 10_000,
    "spec.trialTemplate.failureCondition": 10_000,
}
MAX_PROPERTIES: Mapping[str, int] = {"spec.trialTemplate.primaryPodLabels": 100}
