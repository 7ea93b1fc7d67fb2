-- The health of a DaemonJob for Argo CD: the text of the key
-- resource.customizations.health.daemon.justk8s.com_DaemonJob in its ConfigMap argocd-cm.
-- It uses no library, so useOpenLibs stays off, and it never says Suspended: a DaemonJob cannot be paused.

local status = obj.status or {}
local generation = (obj.metadata or {}).generation
local observed = status.observedGeneration or -1

-- Until the controller has seen this generation, the conditions speak of an earlier one.
if observed < 0 or (generation ~= nil and observed ~= generation) then
  return { status = "Progressing", message = "Waiting for the controller to observe this generation" }
end

local is_true = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.status == "True" then
    is_true[condition.type] = condition
  end
end

if is_true.Stalled then
  return { status = "Degraded", message = is_true.Stalled.message }
end
if is_true.Reconciling then
  return { status = "Progressing", message = is_true.Reconciling.message }
end
if is_true.Ready then
  return { status = "Healthy", message = is_true.Ready.message }
end
return { status = "Progressing", message = "Waiting for the controller to write conditions" }
