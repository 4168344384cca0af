{{/* What can't work, one sentence each, all of them at once. The schema has refused what
     is of the wrong form before; here is what goes wrong together. Where something would
     start and yet harm, such as two pods that each remember for themselves, nothing else
     would tell. */}}

{{- define "mintage.refuse" -}}
{{- $sentences := list -}}
{{- range tuple "callers" "indexes" "keyring" "store" "replicas" "end" "tls" "disruptions" "network" "mesh" "metrics" "test" -}}
{{- range splitList "\n" (include (printf "mintage.refuse.%s" .) $ | trim) -}}
{{- with trim . }}{{ $sentences = append $sentences (printf "  - %s" .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $sentences -}}
{{- fail (printf "\n\nThese values can't work:\n\n%s\n" (join "\n" $sentences)) -}}
{{- end -}}
{{- end -}}

{{- define "mintage.refuse.callers" -}}
{{- $config := .Values.config -}}
{{- if and $config.callers $config.allow_anonymous_callers }}
config.allow_anonymous_callers must not be true where there are config.callers.
{{- end }}
{{- if not (or $config.callers $config.allow_anonymous_callers) }}
config.callers is empty: name who may call, or say config.allow_anonymous_callers=true where a mesh or a NetworkPolicy decides who reaches the port.
{{- end }}
{{- range $config.callers }}
{{- if and .san (not (and $.Values.tls.enabled (include "mintage.clientCa" $))) }}
config.callers: "{{ .name }}" proves itself by a certificate, which needs tls.enabled and tls.clientCa.
{{- end }}
{{- if not (or .san .token_sha256) }}
config.callers: "{{ .name }}" needs token_sha256 or san, to prove itself by.
{{- end }}
{{- if and .token_sha256 (not (regexMatch "^[0-9a-fA-F]{64}$" .token_sha256)) }}
config.callers: the token_sha256 of "{{ .name }}" must be 64 hexadecimal digits: the token's SHA-256, and not the token.
{{- end }}
{{- range .indexes }}
{{- if not (hasKey (default dict $config.indexes) .) }}
config.callers: "{{ . }}" is not among config.indexes.
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "mintage.refuse.indexes" -}}
{{- $config := .Values.config -}}
{{- if not $config.indexes }}
config.indexes is empty: configure at least one index, as in config.indexes.pypi with audience and location.
{{- end }}
{{- $urls := list -}}
{{- range $config.issuers }}{{ $urls = append $urls .url }}{{ end }}
{{- range $name, $index := $config.indexes }}
{{- range $index.issuers }}
{{- if not (has . $urls) }}
config.indexes.{{ $name }}.issuers names {{ . }}, which is not among config.issuers.
{{- end }}
{{- end }}
{{- end }}
{{- range $config.issuers }}
{{- if and .ca_file (not $.Values.issuerCa.existingConfigMap) (hasPrefix (include "mintage.paths.issuers" $) .ca_file) }}
config.issuers: the ca_file of {{ .url }} needs issuerCa.existingConfigMap.
{{- end }}
{{- end }}
{{- end -}}

{{- define "mintage.refuse.keyring" -}}
{{- $keyring := .Values.keyring -}}
{{- if and $keyring.existingSecret $keyring.generate.enabled }}
keyring.existingSecret and keyring.generate.enabled exclude each other.
{{- else if $keyring.existingSecret }}
{{- if not $keyring.current }}
keyring.current is empty: say which key of the Secret {{ $keyring.existingSecret }} mints.
{{- end }}
{{- else if $keyring.generate.enabled }}
{{- if not (has (include "mintage.keyring.current" .) $keyring.generate.keys) }}
keyring.current must be one of keyring.generate.keys, which are {{ join ", " $keyring.generate.keys }}.
{{- end }}
{{- else }}
keyring is missing: name a Secret with master keys in keyring.existingSecret, or say keyring.generate.enabled=true.
{{- end }}
{{- end -}}

{{- define "mintage.refuse.store" -}}
{{- $store := .Values.config.store -}}
{{- $keys := .Values.redis.secretKeys -}}
{{- $named := compact (values $keys) -}}
{{- if and $named (not .Values.redis.existingSecret) }}
redis.secretKeys names entries of a Secret, but redis.existingSecret is empty.
{{- end }}
{{- if and .Values.redis.existingSecret (not $named) }}
redis.existingSecret is there, but redis.secretKeys names none of its entries.
{{- end }}
{{- if .Values.valkey.enabled }}
{{- if or $store.kind $store.url $named }}
valkey.enabled brings its own config.store.kind and url, without a password: leave them, and redis, empty.
{{- end }}
{{- else if eq (include "mintage.store.kind" .) "redis" }}
{{- if and (not $store.url) (not $keys.url) }}
config.store.url is missing: say where Redis is, or name the Secret's entry with its URL in redis.secretKeys.url.
{{- end }}
{{- if and $store.url $keys.url }}
config.store.url and redis.secretKeys.url exclude each other.
{{- end }}
{{- if not (regexMatch "^(rediss?://.+)?$" (default "" $store.url)) }}
config.store.url must begin with redis:// or, for TLS, rediss://.
{{- end }}
{{- if regexMatch "//[^/@]*:[^/@]*@" (default "" $store.url) }}
config.store.url holds a password, and a ConfigMap is no place for one: use redis.secretKeys.
{{- end }}
{{- else if $named }}
redis.secretKeys is for config.store.kind=redis only.
{{- end }}
{{- end -}}

{{- define "mintage.refuse.replicas" -}}
{{- $scaling := .Values.autoscaling -}}
{{- if eq (include "mintage.store.kind" .) "memory" }}
{{- if $scaling.enabled }}
autoscaling.enabled needs Redis (config.store.kind=redis): each pod with a memory store remembers for itself which ID tokens were redeemed.
{{- else if gt (int .Values.replicas) 1 }}
replicas={{ int .Values.replicas }} needs Redis (config.store.kind=redis): each pod with a memory store remembers for itself which ID tokens were redeemed.
{{- end }}
{{- if and .Values.strategy (ne (default "" .Values.strategy.type) "Recreate") }}
strategy must be Recreate with the memory store, or two pods would redeem an ID token once each during a rollout.
{{- end }}
{{- end }}
{{- if $scaling.enabled }}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) }}
autoscaling.minReplicas must not be more than autoscaling.maxReplicas.
{{- end }}
{{- if and $scaling.targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" .Values.resources)) }}
autoscaling.targetCPUUtilizationPercentage needs resources.requests.cpu, of which it is a percentage.
{{- end }}
{{- if not (or $scaling.targetCPUUtilizationPercentage $scaling.metrics) }}
autoscaling has nothing to steer by: give it targetCPUUtilizationPercentage or metrics.
{{- end }}
{{- end }}
{{- end -}}

{{/* The same as the HorizontalPodAutoscaler's least, or the Deployment's number. */}}
{{- define "mintage.replicas.least" -}}
{{- if .Values.autoscaling.enabled }}{{ int .Values.autoscaling.minReplicas }}{{ else }}{{ int .Values.replicas }}{{ end -}}
{{- end -}}

{{- define "mintage.refuse.end" -}}
{{- $delay := int (include "mintage.seconds" (dig "server" "drain_delay" "0s" .Values.config)) -}}
{{- $grace := int (include "mintage.seconds" (dig "server" "shutdown_grace" "25s" .Values.config)) -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (add $delay $grace | int) }}
terminationGracePeriodSeconds={{ int .Values.terminationGracePeriodSeconds }} must be longer than config.server.drain_delay and config.server.shutdown_grace together, which are {{ add $delay $grace }} seconds: running calls would be cut off.
{{- end }}
{{- end -}}

{{- define "mintage.refuse.tls" -}}
{{- $tls := .Values.tls -}}
{{- $sources := list -}}
{{- if $tls.existingSecret }}{{ $sources = append $sources "tls.existingSecret" }}{{ end }}
{{- if $tls.volume }}{{ $sources = append $sources "tls.volume" }}{{ end }}
{{- if $tls.certManager.enabled }}{{ $sources = append $sources "tls.certManager.enabled" }}{{ end }}
{{- if not $tls.enabled }}
{{- range $sources }}
{{ . }} is there, but tls.enabled is false.
{{- end }}
{{- if include "mintage.clientCa" . }}
tls.clientCa is there, but tls.enabled is false.
{{- end }}
{{- else }}
{{- if not $sources }}
tls.enabled needs a certificate: tls.existingSecret, tls.volume or tls.certManager.enabled.
{{- else if gt (len $sources) 1 }}
{{ join " and " $sources }} exclude each other.
{{- end }}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerRef.name) }}
tls.certManager.issuerRef.name is empty: name cert-manager's issuer.
{{- end }}
{{- $authorities := list -}}
{{- with $tls.clientCa }}
{{- if .existingConfigMap }}{{ $authorities = append $authorities "existingConfigMap" }}{{ end }}
{{- if .existingSecret }}{{ $authorities = append $authorities "existingSecret" }}{{ end }}
{{- if .fromServer }}{{ $authorities = append $authorities "fromServer" }}{{ end }}
{{- end }}
{{- if gt (len $authorities) 1 }}
tls.clientCa has {{ join " and " $authorities }}, which exclude each other.
{{- end }}
{{- if eq .Values.probes.readiness "grpc" }}
probes.readiness=grpc doesn't work with tls.enabled: the kubelet's gRPC probes don't speak TLS.
{{- end }}
{{- end }}
{{- end -}}

{{- define "mintage.refuse.disruptions" -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- if $budget.enabled }}
{{- $least := int (include "mintage.replicas.least" .) -}}
{{- $min := toString $budget.minAvailable -}}
{{- $max := toString $budget.maxUnavailable -}}
{{- if and $min $max }}
podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable exclude each other.
{{- else if has $max (list "0" "0%") }}
podDisruptionBudget.maxUnavailable={{ $max }} lets no pod be evicted, so no node can be drained.
{{- else if $min }}
{{- $stay := int (trimSuffix "%" $min) -}}
{{- if hasSuffix "%" $min }}{{ $stay = int (ceil (divf (mulf (float64 $stay) (float64 $least)) 100.0)) }}{{ end }}
{{- if ge $stay $least }}
podDisruptionBudget.minAvailable={{ $min }} lets none of {{ $least }} pods be evicted, so no node can be drained.
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "mintage.refuse.network" -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.clients) }}
networkPolicy.clients is empty: nobody could call; name the web tier's pods.
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.networkPolicy.egress.enabled .Values.redis.secretKeys.url (not .Values.networkPolicy.egress.redisPorts) }}
networkPolicy.egress.redisPorts is empty, and Redis's URL is in a Secret, which nobody reads here: name the ports.
{{- end }}
{{- if eq (int .Values.ports.grpc) (int .Values.ports.admin) }}
ports.grpc and ports.admin must differ.
{{- end }}
{{- end -}}

{{- define "mintage.refuse.mesh" -}}
{{- $mesh := .Values.mesh -}}
{{- if and $mesh.linkerd.enabled $mesh.istio.enabled }}
mesh.linkerd.enabled and mesh.istio.enabled exclude each other.
{{- end }}
{{- if $mesh.linkerd.authorization.enabled }}
{{- if not $mesh.linkerd.enabled }}
mesh.linkerd.authorization.enabled needs mesh.linkerd.enabled: nothing else would hold to it.
{{- end }}
{{- if not $mesh.linkerd.authorization.clients }}
mesh.linkerd.authorization.clients is empty: nobody could call.
{{- end }}
{{- if eq .Values.probes.readiness "grpc" }}
probes.readiness=grpc doesn't work with mesh.linkerd.authorization.enabled: Linkerd lets the kubelet's HTTP probes through, and no others.
{{- end }}
{{- end }}
{{- if $mesh.istio.authorization.enabled }}
{{- if not $mesh.istio.enabled }}
mesh.istio.authorization.enabled needs mesh.istio.enabled: nothing else would hold to it.
{{- end }}
{{- if not $mesh.istio.authorization.principals }}
mesh.istio.authorization.principals is empty: nobody could call.
{{- end }}
{{- end }}
{{- if and .Values.tls.enabled (or $mesh.linkerd.enabled $mesh.istio.enabled) }}
tls.enabled hides the calls from the mesh, which could then neither balance nor count them: leave TLS to the mesh.
{{- end }}
{{- end -}}

{{- define "mintage.refuse.metrics" -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
metrics.serviceMonitor.enabled and metrics.podMonitor.enabled exclude each other: everything would be counted twice.
{{- end }}
{{- end -}}

{{- define "mintage.refuse.test" -}}
{{- $test := .Values.test -}}
{{- if and $test.enabled (include "mintage.test.reaches" .) }}
{{- if and .Values.tls.enabled .Values.tls.volume (not $test.caSecret) }}
test.caSecret is empty: name a Secret with the ca.crt that helm test trusts, or say test.enabled=false.
{{- end }}
{{- if and .Values.tls.enabled (include "mintage.clientCa" .) (eq .Values.tls.clientCa.clientCertificates "required") (not $test.clientCertificateSecret) }}
test.clientCertificateSecret is empty, but clients must show certificates: name one for helm test, or say test.enabled=false.
{{- end }}
{{- if and (include "mintage.test.proof" .) (gt (len (default dict .Values.config.indexes)) 1) (not $test.index) }}
test.index is empty: say for which of the indexes {{ keys .Values.config.indexes | sortAlpha | join ", " }} helm test mints.
{{- end }}
{{- if and $test.index (not (hasKey (default dict .Values.config.indexes) $test.index)) }}
test.index names {{ $test.index }}, which is not among config.indexes.
{{- end }}
{{- end }}
{{- end -}}
