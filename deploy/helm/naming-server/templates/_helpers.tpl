{{- define "naming.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "naming.headless" -}}
{{- printf "%s-headless" (include "naming.name" .) -}}
{{- end -}}

{{- define "naming.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "naming.labels" -}}
{{ include "naming.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "naming.isCluster" -}}
{{- if eq .Values.global.mode "cluster" -}}yes{{- else if ne .Values.global.mode "standalone" -}}
{{- fail "global.mode must be standalone or cluster" -}}
{{- end -}}
{{- end -}}

{{- define "naming.authSecret" -}}
{{- if .Values.auth.existingSecret -}}
{{- .Values.auth.existingSecret -}}
{{- else if .Values.nacos.authToken -}}
{{- printf "%s-auth" (include "naming.name" .) -}}
{{- end -}}
{{- end -}}

{{- define "naming.clusterSecret" -}}
{{- .Values.cluster.existingSecret | default (printf "%s-members" (include "naming.name" .)) -}}
{{- end -}}

{{- /* Ports above are reserved to users without rights: 9848 is always 1,000 above the main port. */ -}}
{{- define "naming.grpcPort" -}}
{{- add (int .Values.nacos.serverPort) 1000 -}}
{{- end -}}
