{{/* Names never follow the release name: other parts and the documents rely on them (P9). */}}
{{- define "edge-controller.labels" -}}
app: edge-controller
app.kubernetes.io/name: edge-platform
app.kubernetes.io/component: edge-controller
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{/* The all-in-one image wins over the service's own; the registry prefixes both. */}}
{{- define "edge-controller.image" -}}
{{- $one := (.Values.global).image | default dict -}}
{{- $repository := $one.repository | default .Values.image.repository -}}
{{- $tag := ternary ($one.tag | default .Chart.AppVersion) (.Values.image.tag | default .Chart.AppVersion) (not (empty $one.repository)) -}}
{{- $registry := (.Values.global).imageRegistry | default "" -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}{{ $repository }}:{{ $tag }}
{{- end -}}

{{/* The name that a user wants the Service to have beside its own two; "" for none. */}}
{{- define "edge-controller.alias" -}}
{{- $wanted := .Values.fullnameOverride | default "" -}}
{{- if not (has $wanted (list "edge-controller" "controller")) }}{{ $wanted }}{{ end -}}
{{- end -}}

{{- define "edge-controller.pullPolicy" -}}
{{- (((.Values.global).image).pullPolicy) | default .Values.image.pullPolicy -}}
{{- end -}}

{{/* X70: unset means all, but none for the documented hand-made release `controller`. */}}
{{- define "edge-controller.mode" -}}
{{- $mode := (.Values.global).mode | default "" -}}
{{- if not $mode }}{{ $mode = ternary "none" "all" (eq .Release.Name "controller") }}{{ end -}}
{{- if not (has $mode (list "all" "host" "member" "none")) -}}
{{- fail (printf "global.mode is %q; accepted are all, host, member and none" $mode) -}}
{{- end -}}
{{- $mode -}}
{{- end -}}

{{- define "edge-controller.replicas" -}}
{{- if (.Values.ha).enabled }}{{ .Values.replicaCount }}{{ else }}1{{ end -}}
{{- end -}}

{{/* What the clusters room is told: its values, the registry in front of its images, and whether there is an etcd. */}}
{{- define "edge-controller.clusters" -}}
{{- $clusters := deepCopy .Values.clusters -}}
{{- $registry := (.Values.global).imageRegistry | default "" -}}
{{- $images := $clusters.images -}}
{{- if $registry }}
{{- range $name := list "worker" "etcd" "coredns" }}
{{- $_ := set $images $name (printf "%s/%s" (trimSuffix "/" $registry) (get $images $name)) -}}
{{- end }}
{{- range $version, $image := $images.kube }}
{{- $_ := set $images.kube $version (printf "%s/%s" (trimSuffix "/" $registry) $image) -}}
{{- end }}
{{- end }}
{{- $_ := set $clusters "sharedEtcd" .Values.etcd.enabled -}}
{{- toYaml $clusters -}}
{{- end -}}
