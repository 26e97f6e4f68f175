{{/* Names never follow the release name: other parts and the documents rely on them (P9). */}}
{{- define "edge-apiserver.labels" -}}
app: edge-apiserver
app.kubernetes.io/name: edge-platform
app.kubernetes.io/component: edge-apiserver
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{/* The all-in-one image wins over the service's own; the registry prefixes both. */}}
{{- define "edge-apiserver.image" -}}
{{- $one := (.Values.global).image | default dict -}}
{{- $repository := $one.repository | default .Values.image.repository -}}
{{- $tag := ternary ($one.tag | default .Chart.AppVersion) (.Values.image.tag | default .Chart.AppVersion) (not (empty $one.repository)) -}}
{{- $registry := (.Values.global).imageRegistry | default "" -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}{{ $repository }}:{{ $tag }}
{{- end -}}

{{- define "edge-apiserver.pullPolicy" -}}
{{- (((.Values.global).image).pullPolicy) | default .Values.image.pullPolicy -}}
{{- end -}}

{{/* The name that a user wants the Service to have beside its own two; "" for none. */}}
{{- define "edge-apiserver.alias" -}}
{{- $wanted := .Values.fullnameOverride | default "" -}}
{{- if not (has $wanted (list "edge-apiserver" "apiserver")) }}{{ $wanted }}{{ end -}}
{{- end -}}

{{- define "edge-apiserver.pullSecrets" -}}
{{- with concat ((.Values.global).imagePullSecrets | default list) (.Values.imagePullSecrets | default list) | uniq }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Port of the authorization webhook; empty: off. */}}
{{- define "edge-apiserver.reviewsPort" -}}
{{- $webhook := .Values.authorization.webhook | default dict -}}
{{- if $webhook.enabled }}{{ $webhook.bindAddress | default "0.0.0.0:9444" | splitList ":" | last }}{{ end -}}
{{- end -}}

{{- define "edge-apiserver.autoscaled" -}}
{{- if and (.Values.ha).enabled (.Values.autoscaling).enabled }}yes{{ end -}}
{{- end -}}

{{- define "edge-apiserver.replicas" -}}
{{- if (.Values.ha).enabled }}{{ .Values.replicaCount }}{{ else }}1{{ end -}}
{{- end -}}

{{/* How many processes keep the trail on claims of their own; 0: each gateway keeps its own. */}}
{{- define "edge-apiserver.sinks" -}}
{{- $asked := (.Values.audit.sinks | default dict).replicas | toString -}}
{{- if not .Values.audit.enabled }}0
{{- else if has $asked (list "" "<nil>") }}{{ ternary 3 0 (eq true (.Values.ha).enabled) }}
{{- else }}{{ $asked }}{{ end -}}
{{- end -}}

{{/* The claim that the trail is kept on; "" for an emptyDir: pods on two nodes cannot mount one of ReadWriteOnce. */}}
{{- define "edge-apiserver.auditClaim" -}}
{{- $kept := .Values.audit.persistence -}}
{{- $alone := and (not (include "edge-apiserver.autoscaled" .)) (eq (include "edge-apiserver.replicas" .) "1") -}}
{{- if and .Values.audit.enabled (eq (include "edge-apiserver.sinks" .) "0") $kept.enabled (or $alone (eq $kept.accessMode "ReadWriteMany")) -}}
{{- $kept.existingClaim | default "edge-audit" -}}
{{- end -}}
{{- end -}}

{{/* Values that documents print are no secrets (X30). */}}
{{- define "edge-apiserver.jwtSecret" -}}
{{- $given := ((.Values.authentication).jwt).secret | default "" | toString -}}
{{- $printed := list "***" "your-jwt-secret" "changeme" "change-me" "secret" "edge-jwt-secret" "your-secret-key" -}}
{{- /* That of the public installer's chart, with which anybody could sign tokens. */ -}}
{{- $printed = append $printed "c069c36be9c64acd4d3993d7e9ea44c3c65802e06a5909cee933af6768e2004e" -}}
{{- if not (has ($given | trim | lower) $printed) }}{{ $given }}{{ end -}}
{{- end -}}

{{/* As OAUTH_CLIENTS takes them: id:secret, commas between them. */}}
{{- define "edge-apiserver.clients" -}}
{{- range $index, $client := .Values.authentication.oauth.clients -}}
{{- if contains "," (toString $client.secret) }}{{ fail (printf "authentication.oauth.clients: the secret of %s has a comma, which separates clients" $client.id) }}{{ end -}}
{{- if $index }},{{ end }}{{ $client.id }}:{{ $client.secret }}
{{- end -}}
{{- end -}}

{{- define "edge-apiserver.edgeYaml" -}}
server:
  {{- with pick ((.Values.edge).apiserver | default dict) "host" "port" "timeout" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  loopbackMembers: {{ .Values.loopbackMembers }}
  maxPerMember: {{ .Values.maxPerMember }}
  shellIdleTimeout: {{ .Values.shellIdleTimeout | quote }}
  clusterDomain: {{ .Values.clusterDomain | quote }}
  trustedProxies: {{ .Values.trustedProxies | default list | toJson }}
  tls:
    enabled: {{ .Values.tls.enabled }}
    {{- with pick (((.Values.edge).apiserver).tls | default dict) "certFile" "keyFile" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    port: {{ .Values.tls.port }}
    secretName: {{ .Values.tls.secretName | quote }}
    names:
      - edge-apiserver
      - edge-apiserver.{{ .Release.Namespace }}
      - edge-apiserver.{{ .Release.Namespace }}.svc
      - edge-apiserver.{{ .Release.Namespace }}.svc.cluster.local
      - apiserver
      - localhost
      {{- with include "edge-apiserver.alias" . }}
      - {{ . }}
      - {{ . }}.{{ $.Release.Namespace }}
      - {{ . }}.{{ $.Release.Namespace }}.svc
      - {{ . }}.{{ $.Release.Namespace }}.svc.cluster.local
      {{- end }}
      {{- range .Values.tls.names }}
      - {{ . }}
      {{- end }}
    clientCASecretName: {{ .Values.tls.clientCASecretName | default "" | quote }}
  cors:
    allowedOrigins: {{ (.Values.cors).allowedOrigins | default list | toJson }}
{{- with .Values.logLevel }}
log: {level: {{ . }}}
{{- end }}
authentication:
  oauth: {{- toYaml (omit .Values.authentication.oauth "clients") | nindent 4 }}
  jwt: {{- toYaml (omit .Values.authentication.jwt "secret") | nindent 4 }}
  session: {{- toYaml (.Values.authentication.session | default dict) | nindent 4 }}
  oidc: {{- toYaml (omit .Values.authentication.oidc "clientSecret") | nindent 4 }}
  ldap: {{- toYaml (omit .Values.authentication.ldap "bindPassword") | nindent 4 }}
  serviceAccounts: {{- toYaml (.Values.authentication.serviceAccounts | default dict) | nindent 4 }}
  lockout: {{- toYaml (.Values.authentication.lockout | default dict) | nindent 4 }}
authorization: {{- toYaml (omit .Values.authorization "webhook") | nindent 2 }}
  webhook: {{- toYaml (omit (.Values.authorization.webhook | default dict) "secretName") | nindent 4 }}
rateLimit: {{- toYaml .Values.rateLimit | nindent 2 }}
kubeconfig: {{- toYaml .Values.kubeconfig | nindent 2 }}
audit:
  folder: {{ ternary "/var/lib/edge/audit" "" .Values.audit.enabled | quote }}
  {{- if ne (include "edge-apiserver.sinks" .) "0" }}
  sinks:
    {{- range $number := until (include "edge-apiserver.sinks" . | int) }}
    - https://edge-audit-{{ $number }}.edge-audit.{{ $.Release.Namespace }}.svc:9443
    {{- end }}
  {{- end }}
  checkpoints: {{ include "edge-apiserver.checkpoints" . | quote }}
  {{- with omit .Values.audit "enabled" "persistence" "sinks" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Copies of signed statements, one ConfigMap for each place that records outlive their pods in; "" for an emptyDir. */}}
{{- define "edge-apiserver.checkpoints" -}}
{{- if ne (include "edge-apiserver.sinks" .) "0" }}edge-audit-checkpoints
{{- else if include "edge-apiserver.auditClaim" . }}edge-audit-checkpoints-{{ include "edge-apiserver.auditClaim" . }}{{ end -}}
{{- end -}}

{{- define "edge-apiserver.auditYaml" -}}
{{- $namespace := .Release.Namespace -}}
sink:
  peers:
    {{- range $number := until (include "edge-apiserver.sinks" . | int) }}
    - https://edge-audit-{{ $number }}.edge-audit.{{ $namespace }}.svc:9443
    {{- end }}
  names:
    # OpenSSL takes a wildcard only before two names.
    - "*.edge-audit.{{ $namespace }}.svc"
  gateways:
    - system:serviceaccount:{{ $namespace }}:edge-apiserver
  peerAccounts:
    - system:serviceaccount:{{ $namespace }}:edge-audit
audit:
  folder: /var/lib/edge/audit
  checkpoints: {{ include "edge-apiserver.checkpoints" . | quote }}
  {{- toYaml (omit .Values.audit "enabled" "persistence" "sinks") | nindent 2 }}
{{- end -}}
