{{/* Names never follow the release name: other parts and the documents rely on them (P9). */}}
{{- define "chartmuseum.labels" -}}
app: chartmuseum
app.kubernetes.io/name: edge-platform
app.kubernetes.io/component: chartmuseum
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{/* The all-in-one image wins over the service's own; the registry prefixes both. */}}
{{- define "chartmuseum.image" -}}
{{- $one := (.Values.global).image | default dict -}}
{{- $repository := $one.repository | default .Values.image.repository -}}
{{- $tag := ternary ($one.tag | default .Chart.AppVersion) (.Values.image.tag | default .Chart.AppVersion) (not (empty $one.repository)) -}}
{{- $registry := (.Values.global).imageRegistry | default "" -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}{{ $repository }}:{{ $tag }}
{{- end -}}

{{- define "chartmuseum.pullPolicy" -}}
{{- (((.Values.global).image).pullPolicy) | default .Values.image.pullPolicy -}}
{{- end -}}
