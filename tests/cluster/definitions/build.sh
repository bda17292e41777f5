#!/bin/sh
# Builds Kubernetes' own server of custom resources into FOLDER, with an etcd beside it, from
# packages of Debian unstable alone: Go, Kubernetes' libraries, etcd. As root, on Debian, some
# fifteen minutes and 3 GB; needs mmdebstrap. Packages come from where apt gets its own.
#     build.sh FOLDER
set -eu
folder=${1:?where to build}
here=$(dirname "$(readlink -f "$0")")
# shellcheck disable=SC2016  # apt's own words
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
    sed -n '/security/!p' | head -n 1)
library=golang-k8s-apiextensions-apiserver-dev
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# Of unstable a mirror may be older than its signature wants.
mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="golang-go,$library,etcd-server" sid "$root" "deb $mirror sid main"
ln -s usr/lib "$root/lib"
mkdir -p "$root/usr/share/gocode/src/trialbus/definitions" "$root/root"
cp "$here/main.go" "$root/usr/share/gocode/src/trialbus/definitions/"
HOME=/root GOTELEMETRY=off GOROOT=/usr/lib/go GO111MODULE=off GOPATH=/usr/share/gocode \
    GOCACHE=/root/cache CGO_ENABLED=0 \
    chroot "$root" /usr/lib/go/bin/go build -o /root/definitions-server trialbus/definitions
mkdir -p "$folder"
cp "$root/root/definitions-server" "$root/usr/bin/etcd" "$folder/"
