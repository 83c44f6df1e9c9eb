#!/usr/bin/env bash
# Builds the pinned control plane (kube-apiserver, kube-controller-manager, kubectl, etcd) into target/control-plane.
# A no-op when what is there was built from this go.mod, go.sum and script.
#
# Example: tests/control-plane/build.sh
set -euo pipefail

module_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository_root=$(cd "$module_dir/../.." && pwd)
output_dir=${COFFERDAM_CONTROL_PLANE_DIR:-$repository_root/target/control-plane}

if ! command -v go >/dev/null; then
  echo "error: expected Go 1.26 or newer on PATH, found none. Install it: apt-get install golang (or https://go.dev/doc/install), then run: make control-plane" >&2
  exit 1
fi

stamp=$(cat "$module_dir/go.mod" "$module_dir/go.sum" "$module_dir/build.sh" | sha256sum | cut -d' ' -f1)
if [[ -f $output_dir/stamp && $(<"$output_dir/stamp") == "$stamp" ]]; then
  exit 0
fi

# Without this the server calls itself v0.0.0, and clients that gate features on the version misbehave.
kubernetes_version=$(cd "$module_dir" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${kubernetes_version#v1.}
minor=${minor%%.*}
version_package=k8s.io/component-base/version
kubernetes_ldflags="-s -w
  -X $version_package.gitVersion=$kubernetes_version
  -X $version_package.gitMajor=1
  -X $version_package.gitMinor=$minor
  -X $version_package.gitTreeState=clean"

mkdir -p "$output_dir"
rm -f "$output_dir/stamp"
step=0
build() {
  local name=$1 package=$2 ldflags=$3
  step=$((step + 1))
  echo "control plane [$step/4]: building $name (the first build takes about 4 minutes in all on 2 cores)" >&2
  (cd "$module_dir" && CGO_ENABLED=0 go build -trimpath -ldflags "$ldflags" -o "$output_dir/$name" "$package")
}
build etcd go.etcd.io/etcd/server/v3 "-s -w"
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$kubernetes_ldflags"
build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$kubernetes_ldflags"
build kubectl k8s.io/kubernetes/cmd/kubectl "$kubernetes_ldflags"
echo "$stamp" >"$output_dir/stamp"
echo "control plane: ready in $output_dir ($kubernetes_version)" >&2
