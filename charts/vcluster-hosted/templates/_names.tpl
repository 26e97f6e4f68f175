{{- define "hosted.labels" -}}
app.kubernetes.io/name: edge-platform
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
scope.theriseunion.io/cluster: {{ .Values.cluster.name | quote }}
{{- end -}}

{{- define "hosted.shared" -}}
{{- if eq .Values.store.mode "shared" }}yes{{ end -}}
{{- end -}}
