{{- /* Names end at 52 characters: a StatefulSet's name and the hash of its revision are one label. */}}
{{- define "zhongkong.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "zhongkong.fullname" -}}
{{- $name := include "zhongkong.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if not (contains $name .Release.Name) -}}
{{- $name = printf "%s-%s" .Release.Name $name -}}
{{- else -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- $name = $name | trunc 52 | trimSuffix "-" | trimSuffix "." -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "%q cannot be the name of a Service: it needs lower case letters, digits and -, and begins with a letter; set fullnameOverride" $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{- /* The headless Service that gives the pods of a StatefulSet their names. */}}
{{- define "zhongkong.headless" -}}
{{- printf "%s-headless" (include "zhongkong.fullname" .) -}}
{{- end }}

{{- define "zhongkong.selector" -}}
app.kubernetes.io/name: {{ include "zhongkong.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "zhongkong.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "zhongkong.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "zhongkong.image" -}}
{{- $at := .Values.image.digest -}}
{{- if $at -}}
{{- printf "%s@%s" .Values.image.repository $at -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{- define "zhongkong.scheme" -}}
{{- if .Values.tls.secret }}https{{ else }}http{{ end -}}
{{- end }}

{{- /* The ports: of the HTTP interface, of routes that have an address of their own, of datagrams. A list in JSON. */}}
{{- define "zhongkong.ports" -}}
{{- $ports := list (dict "name" "http" "port" 8080 "protocol" "TCP" "service" (int .Values.service.port)) -}}
{{- range .Values.config.routes -}}
{{- if .listen -}}
{{- $port := int (regexFind "[0-9]+$" .listen) -}}
{{- $ports = append $ports (dict "name" (printf "route-%d" $port) "port" $port "protocol" "TCP" "service" $port) -}}
{{- end -}}
{{- end -}}
{{- with .Values.config.udp -}}
{{- $port := int (regexFind "[0-9]+$" .) -}}
{{- $ports = append $ports (dict "name" "datagrams" "port" $port "protocol" "UDP" "service" $port) -}}
{{- end -}}
{{- toJson $ports -}}
{{- end }}

{{- /* The ports of Redis that redis.url names. Behind Sentinels the master has 6379. */}}
{{- define "zhongkong.redisPorts" -}}
{{- $url := regexReplaceAll "^rediss?://([^@]*@)?" .Values.redis.url "" -}}
{{- $ports := list -}}
{{- range regexFindAll ":[0-9]+" $url -1 }}{{ $ports = append $ports (. | trimPrefix ":" | int) }}{{ end -}}
{{- if or (not $ports) (contains "master_name=" $url) }}{{ $ports = append $ports 6379 }}{{ end -}}
{{- toJson ($ports | uniq) -}}
{{- end }}

{{- /* Checks that values.schema.json cannot make, with an error that says what to do. */}}
{{- define "zhongkong.check" -}}
{{- include "zhongkong.checkConfig" . -}}
{{- if and .Values.grants.enabled (not .Values.sealKeySecret.name) -}}
{{- fail "grants.enabled needs sealKeySecret.name: refresh tokens are always sealed; `zhongkong keygen` prints a key" -}}
{{- end -}}
{{- if and .Values.grants.copyClaim (not .Values.grants.enabled) -}}
{{- fail "grants.copyClaim has no effect without grants.enabled" -}}
{{- end -}}
{{- if and .Values.tls.clientCASecret.name (not .Values.tls.secret) -}}
{{- fail "tls.clientCASecret.name needs tls.secret: only a server with a certificate can ask for that of a client" -}}
{{- end -}}
{{- if and .Values.redis.clientSecret (not (hasPrefix "rediss://" .Values.redis.url)) -}}
{{- fail "redis.clientSecret needs a redis.url that begins with rediss://" -}}
{{- end -}}
{{- if and .Values.redis.caSecret.name (not (hasPrefix "rediss://" .Values.redis.url)) -}}
{{- fail "redis.caSecret.name needs a redis.url that begins with rediss://" -}}
{{- end -}}
{{- if regexMatch "^rediss?://[^/]*@" .Values.redis.url | and (not (regexMatch "^rediss?://[^:@/]*(:[$][(]REDIS_PASSWORD[)])?@[^@]+$" .Values.redis.url)) -}}
{{- fail "redis.url has a password: write $(REDIS_PASSWORD) in its place, and name the Secret that has it in redis.passwordSecret" -}}
{{- end -}}
{{- if and (contains "$(REDIS_PASSWORD)" .Values.redis.url) (not .Values.redis.passwordSecret.name) -}}
{{- fail "redis.url has $(REDIS_PASSWORD), but redis.passwordSecret.name is empty: name the Secret, or remove the user and the password from the URL" -}}
{{- end -}}
{{- range list "app.kubernetes.io/name" "app.kubernetes.io/instance" -}}
{{- if hasKey $.Values.podLabels . -}}
{{- fail (printf "podLabels must not have %s: by it the Service finds the pods" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.metrics.open) (not .Values.metrics.basicAuthSecret.name) -}}
{{- fail "serviceMonitor.enabled needs metrics.basicAuthSecret.name, a caller of all accounts, or metrics.open: true" -}}
{{- end -}}
{{- $finish := .Values.grants.enabled | ternary 55 15 -}}
{{- $least := add (int .Values.drainDelaySeconds) $finish | int -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) $least -}}
{{- fail (printf "terminationGracePeriodSeconds must be at least drainDelaySeconds + %d (%d): a call to the issuer that is under way is finished and its token stored" $finish $least) -}}
{{- end -}}
{{- range .Values.config.routes -}}
{{- if and .listen (eq (regexFind "[0-9]+$" .listen) "8080") -}}
{{- fail (printf "config.routes: %v listens at port 8080, which is that of the HTTP interface" .name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* What must not be in config: secrets, because a ConfigMap is no place for them, and
what other values set, because variables win over the file. */}}
{{- define "zhongkong.checkConfig" -}}
{{- $secrets := list "secret" "client_secret" "callback_token" "encoding_aes_key" "previous_encoding_aes_key" "private_key" "key" "app_secret" "appsecret" "master_secret" -}}
{{- range $i, $account := .Values.config.accounts -}}
{{- range $secrets -}}
{{- if hasKey $account . -}}
{{- fail (printf "config.accounts[%d].%s would put a secret into a ConfigMap: create a Secret, list its name in appSecrets, and write %s_file: /run/secrets/NAME/KEY" $i . .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $set := dict "redis" "redis.url" "redis_ca" "redis.caSecret" "redis_cert" "redis.clientSecret" "redis_key" "redis.clientSecret" "seal_key_file" "sealKeySecret" "grants" "grants.enabled" "listen" "service.port" "tls_cert" "tls.secret" "tls_key" "tls.secret" "client_ca" "tls.clientCASecret" "plaintext_ok" "tls.secret" "metrics_open" "metrics.open" "users" "usersSecret" "users_file" "usersSecret" "drain_delay" "drainDelaySeconds" "appid" "config.accounts" "secret" "config.accounts" "secret_file" "config.accounts" "secret_env" "config.accounts" -}}
{{- range $field, $value := $set -}}
{{- if hasKey $.Values.config $field -}}
{{- fail (printf "config.%s cannot be set there: set %s" $field $value) -}}
{{- end -}}
{{- end -}}
{{- if hasKey .Values.config "instance" -}}
{{- fail "config.instance would give all replicas one name: remove it, the name of the pod is used" -}}
{{- end -}}
{{- if hasKey .Values.config "embedded_redis" -}}
{{- fail "config.embedded_redis would give each replica a Redis of its own: replicas would end each other's tokens" -}}
{{- end -}}
{{- end }}
