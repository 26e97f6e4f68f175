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

{{/* Paths of all that is set below `edge` and read by nothing, one a line. */}}
{{- define "edge-apiserver.notUsed" -}}
{{- $used := list "edge.apiserver.host" "edge.apiserver.port" "edge.apiserver.timeout" "edge.apiserver.tls" -}}
{{- range $_, $of := fromYaml (include "edge-apiserver.secondNames" .) }}{{ $used = concat $used $of.also }}{{ end -}}
{{- range splitList "\n" (include "edge-apiserver.leaves" (dict "at" (.Values.edge | default dict) "path" "edge")) -}}
  {{- $path := . -}}
  {{- $isUsed := not . -}}
  {{- range $used }}{{ if hasPrefix (print . ".") (print $path ".") }}{{ $isUsed = true }}{{ end }}{{ end -}}
  {{- if not $isUsed }}{{ println $path }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "edge-apiserver.leaves" -}}
{{- range $key, $value := .at -}}
  {{- $path := printf "%s.%s" $.path $key -}}
  {{- if kindIs "map" $value }}{{ include "edge-apiserver.leaves" (dict "at" $value "path" $path) }}{{ else }}{{ println $path }}{{ end -}}
{{- end -}}
{{- end -}}
