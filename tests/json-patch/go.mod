// What API servers apply patches with, at the version that the Kubernetes of tests/cluster has.
module daemonjob.test/json-patch

go 1.26.0

require gopkg.in/evanphx/json-patch.v4 v4.13.0
