{{/* Values with second names, those of the public installer's chart, and what counts when none is set. */}}
{{- define "edge-apiserver.secondNames" -}}
authentication.jwt.secret: {also: [edge.auth.jwt.secret], default: ""}
# In the installer the first is given as environment, which wins there.
authentication.jwt.issuer: {also: [edge.auth.jwt.issuerUrl, edge.auth.oauth.issuerUrl], default: https://edge.example.com}
authentication.jwt.expire: {also: [edge.auth.jwt.expiry], default: 24h}
authentication.session.idle: {also: [edge.auth.jwt.refreshTTL], default: 30d}
authentication.oauth.enabled: {also: [edge.auth.oauth.enabled], default: true}
authentication.oauth.clients: {also: [edge.auth.oauth.clients], default: [{id: edge-console, secret: edge-secret}]}
authorization.mode: {also: [edge.auth.mode], default: RBAC}
logLevel: {also: [edge.apiserver.logLevel], default: ""}
tls.enabled: {also: [edge.apiserver.tls.enabled], default: true}
{{- end -}}

{{/* Gives each of these the first value that is set: the documents' own, then the installer's, then the default. At the
     head of every template that reads one of them; the second time it changes nothing. */}}
{{- define "edge-apiserver.settle" -}}
{{- $values := .Values -}}
{{- $unset := list "" "<nil>" "[]" -}}
{{- range $name, $of := fromYaml (include "edge-apiserver.secondNames" .) -}}
  {{- $own := $values -}}
  {{- range initial (splitList "." $name) -}}
    {{- if not (kindIs "map" (get $own .)) }}{{ $_ := set $own . dict }}{{ end -}}
    {{- $own = get $own . -}}
  {{- end -}}
  {{- $key := splitList "." $name | last -}}
  {{- range $other := $of.also -}}
    {{- $at := $values -}}
    {{- range splitList "." $other }}{{ if kindIs "map" $at }}{{ $at = get $at . }}{{ else }}{{ $at = "" }}{{ end }}{{ end -}}
    {{- if has (get $own $key | toString) $unset }}{{ $_ := set $own $key $at }}{{ end -}}
  {{- end -}}
  {{- if has (get $own $key | toString) $unset }}{{ $_ := set $own $key $of.default }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* What the templates read; of a path that leads to a tree, all of it. What is passed on to the gateway as it is, such as
     `authentication`, is checked by the gateway itself, which does not start with a key that it does not know. `global` is
     shared with other charts. */}}
{{- define "edge-apiserver.used" -}}
global replicaCount resources podAntiAffinity ha.enabled podDisruptionBudget.enabled
image.repository image.tag image.pullPolicy imagePullSecrets
autoscaling.enabled autoscaling.minReplicas autoscaling.maxReplicas
autoscaling.targetCPUUtilizationPercentage autoscaling.targetMemoryUtilizationPercentage
authentication authorization rateLimit kubeconfig
audit.enabled audit.retention audit.reads audit.acknowledgeWithin audit.segmentSize audit.refuseAtPercent audit.enoughFree
audit.acknowledgements audit.verifyAt audit.writer
audit.sinks.replicas audit.sinks.resources audit.sinks.nodeSelector audit.sinks.tolerations
audit.persistence.enabled audit.persistence.accessMode audit.persistence.size audit.persistence.storageClass
audit.persistence.existingClaim
tls.enabled tls.port tls.secretName tls.names tls.clientCASecretName cors.allowedOrigins
service.type service.port service.nodePorts.http service.nodePorts.metrics service.nodePorts.https service.annotations
ingress.enabled ingress.className ingress.annotations ingress.hosts ingress.tls
configMap.data trustedProxies loopbackMembers maxPerMember shellIdleTimeout clusterDomain logLevel env extraEnv
fullnameOverride hostNetwork dnsPolicy priorityClassName podAnnotations nodeSelector tolerations affinity
edge.apiserver.host edge.apiserver.port edge.apiserver.timeout edge.apiserver.tls
{{- end -}}

{{/* Paths of all that is set and read by nothing, one a line. */}}
{{- define "edge-apiserver.notUsed" -}}
{{- $used := splitList " " (include "edge-apiserver.used" . | replace "\n" " ") -}}
{{- range $_, $of := fromYaml (include "edge-apiserver.secondNames" .) }}{{ $used = concat $used $of.also }}{{ end -}}
{{- range compact (splitList "\n" (include "edge-apiserver.leaves" (dict "at" .Values "path" ""))) -}}
  {{- $path := . -}}
  {{- $isUsed := false -}}
  {{- range $used }}{{ if hasPrefix (print . ".") (print $path ".") }}{{ $isUsed = true }}{{ end }}{{ end -}}
  {{- if not $isUsed }}{{ println $path }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "edge-apiserver.leaves" -}}
{{- range $key, $value := .at -}}
  {{- $path := printf "%s.%s" $.path $key | trimPrefix "." -}}
  {{- if kindIs "map" $value }}{{ include "edge-apiserver.leaves" (dict "at" $value "path" $path) }}
  {{- else if not (kindIs "invalid" $value) }}{{ println $path }}{{ end -}}
{{- end -}}
{{- end -}}
