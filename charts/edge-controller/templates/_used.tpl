{{/* What the templates read; of a path that leads to a tree, all of it. `clusters` and its like are passed on to the
     controller as they are, which does not start with a key that it does not know. */}}
{{- define "edge-controller.used" -}}
global.imageRegistry global.imagePullSecrets global.storageClass global.clusterName global.clusterRegion global.mode
global.image.repository global.image.tag global.image.pullPolicy
replicaCount resources podAntiAffinity ha.enabled podDisruptionBudget.enabled
image.repository image.tag image.pullPolicy imagePullSecrets
leaderElection concurrency syncPeriod webhook logLevel env extraEnv
admin.username admin.password admin.existingSecret
clusters apps etcd.enabled etcd.values
components.chartmuseum.enabled components.chartmuseum.values components.apiserver.enabled components.apiserver.values
fullnameOverride hostNetwork dnsPolicy priorityClassName podAnnotations nodeSelector tolerations affinity
{{- end -}}

{{/* Paths of all that is set and read by nothing, one a line. */}}
{{- define "edge-controller.notUsed" -}}
{{- $used := splitList " " (include "edge-controller.used" . | replace "\n" " ") -}}
{{- range compact (splitList "\n" (include "edge-controller.leaves" (dict "at" .Values "path" ""))) -}}
  {{- $path := . -}}
  {{- $isUsed := false -}}
  {{- range $used }}{{ if hasPrefix (print . ".") (print $path ".") }}{{ $isUsed = true }}{{ end }}{{ end -}}
  {{- if not $isUsed }}{{ println $path }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "edge-controller.leaves" -}}
{{- range $key, $value := .at -}}
  {{- $path := printf "%s.%s" $.path $key | trimPrefix "." -}}
  {{- if kindIs "map" $value }}{{ include "edge-controller.leaves" (dict "at" $value "path" $path) }}
  {{- else if not (kindIs "invalid" $value) }}{{ println $path }}{{ end -}}
{{- end -}}
{{- end -}}
