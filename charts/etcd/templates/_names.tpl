{{- define "etcd.labels" -}}
app: etcd
app.kubernetes.io/name: edge-platform
app.kubernetes.io/component: etcd
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "etcd.image" -}}
{{- $registry := (.Values.global).imageRegistry | default "" -}}
{{- $image := .Values.image -}}
{{- if kindIs "map" $image }}{{ $image = printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) }}{{ end -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}{{ $image }}
{{- end -}}

{{- define "etcd.pullPolicy" -}}
{{- $image := .Values.image -}}
{{- if kindIs "map" $image }}{{ $image.pullPolicy | default .Values.imagePullPolicy }}{{ else }}{{ .Values.imagePullPolicy }}{{ end -}}
{{- end -}}

{{- define "etcd.members" -}}
{{- $members := list -}}
{{- range $i := until (int .Values.replicaCount) -}}
{{- $members = append $members (printf "etcd-%d=https://etcd-%d.etcd.%s.svc:2380" $i $i $.Release.Namespace) -}}
{{- end -}}
{{- join "," $members -}}
{{- end -}}
