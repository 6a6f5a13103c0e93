{{- define "zhongkong.env" -}}
- name: ZHONGKONG_CONFIG
  value: /etc/zhongkong/zhongkong.yaml
- name: ZHONGKONG_LISTEN
  value: ":8080"
- name: ZHONGKONG_DRAIN_DELAY
  value: {{ printf "%ds" (int .Values.drainDelaySeconds) }}
{{- if .Values.redis.passwordSecret.name }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.passwordSecret.name }}
      key: {{ .Values.redis.passwordSecret.key }}
{{- end }}
- name: ZHONGKONG_REDIS
  value: {{ .Values.redis.url | quote }}
{{- with .Values.redis.caSecret }}{{ if .name }}
- name: ZHONGKONG_REDIS_CA
  value: /run/secrets/{{ .name }}/{{ .key }}
{{- end }}{{ end }}
{{- with .Values.redis.clientSecret }}
- name: ZHONGKONG_REDIS_CERT
  value: /run/secrets/{{ . }}/tls.crt
- name: ZHONGKONG_REDIS_KEY
  value: /run/secrets/{{ . }}/tls.key
{{- end }}
{{- with .Values.usersSecret }}{{ if .name }}
- name: ZHONGKONG_USERS_FILE
  value: /run/secrets/{{ .name }}/{{ .key }}
{{- end }}{{ end }}
{{- with .Values.sealKeySecret }}{{ if .name }}
- name: ZHONGKONG_SEAL_KEY_FILE
  value: /run/secrets/{{ .name }}/{{ .key }}
{{- end }}{{ end }}
{{- if .Values.tls.secret }}
- name: ZHONGKONG_TLS_CERT
  value: /run/secrets/{{ .Values.tls.secret }}/tls.crt
- name: ZHONGKONG_TLS_KEY
  value: /run/secrets/{{ .Values.tls.secret }}/tls.key
{{- with .Values.tls.clientCASecret }}{{ if .name }}
- name: ZHONGKONG_CLIENT_CA
  value: /run/secrets/{{ .name }}/{{ .key }}
{{- end }}{{ end }}
{{- else }}
- name: ZHONGKONG_PLAINTEXT_OK
  value: "true"
{{- end }}
{{- if .Values.metrics.open }}
- name: ZHONGKONG_METRICS_OPEN
  value: "true"
{{- end }}
{{- if .Values.grants.enabled }}
- name: ZHONGKONG_GRANTS_SPOOL
  value: /var/lib/zhongkong/spool
{{- if .Values.grants.copyClaim }}
- name: ZHONGKONG_GRANTS_COPY
  value: /var/lib/zhongkong-copy/grants
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The Secrets that are mounted, each once, below /run/secrets. A list in JSON. */}}
{{- define "zhongkong.secrets" -}}
{{- $v := .Values -}}
{{- $names := concat $v.appSecrets (list $v.usersSecret.name $v.sealKeySecret.name $v.redis.caSecret.name $v.redis.clientSecret $v.tls.secret $v.tls.clientCASecret.name) -}}
{{- $names | compact | uniq | toJson -}}
{{- end }}

{{- /* The pod, of a Deployment or a StatefulSet. */}}
{{- define "zhongkong.pod" -}}
metadata:
  labels:
    {{- include "zhongkong.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Accounts are read again while a process runs. Anything else in the file takes a new one.
    zhongkong/restarts-on: {{ omit .Values.config "accounts" | toJson | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "zhongkong.selector" $ | nindent 10 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: zhongkong
      image: {{ include "zhongkong.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve]
      env:
        {{- include "zhongkong.env" . | nindent 8 }}
      ports:
        {{- range include "zhongkong.ports" . | fromJsonArray }}
        - name: {{ .name }}
          containerPort: {{ .port }}
          protocol: {{ .protocol }}
        {{- end }}
      # Alive, no more: a process that is killed while Redis is away takes along the tokens
      # that it would have written back. With client certificates, too, both are answered
      # without one.
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
          scheme: {{ include "zhongkong.scheme" . | upper }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
          scheme: {{ include "zhongkong.scheme" . | upper }}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        capabilities:
          drop: [ALL]
        privileged: false
        readOnlyRootFilesystem: true
      volumeMounts:
        - name: config
          mountPath: /etc/zhongkong
          readOnly: true
        {{- /* Whole Secrets, not single keys (subPath): those are never brought up to date. */}}
        {{- range $i, $name := include "zhongkong.secrets" . | fromJsonArray }}
        - name: secret-{{ $i }}
          mountPath: /run/secrets/{{ $name }}
          readOnly: true
        {{- end }}
        {{- if .Values.grants.enabled }}
        - name: spool
          mountPath: /var/lib/zhongkong
        {{- end }}
        {{- if .Values.grants.copyClaim }}
        - name: copy
          mountPath: /var/lib/zhongkong-copy
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "zhongkong.fullname" . }}
    {{- range $i, $name := include "zhongkong.secrets" . | fromJsonArray }}
    - name: secret-{{ $i }}
      secret:
        secretName: {{ $name }}
        defaultMode: 0440
    {{- end }}
    {{- with .Values.grants.copyClaim }}
    - name: copy
      persistentVolumeClaim:
        claimName: {{ . }}
    {{- end }}
{{- end }}
