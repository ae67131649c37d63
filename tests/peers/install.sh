# Installs the servers of tests/peers into .tools, and names them in the environment. build.sh sources it.

readonly PEERS=(keycloak kubernetes spicedb opa authorino)
readonly KEYCLOAK_VERSION=26.7.3
readonly KUBERNETES_VERSION=1.37.2
readonly SPICEDB_VERSION=1.56.2
readonly AUTHORINO_VERSION=0.27.0

# One processor at a time and behind everybody else: a server is built once, and nobody waits for it alone.
readonly GO=(nice -n 19 env GOTOOLCHAIN=local "GOFLAGS=-p=${PEERS_GO_JOBS:-1}" CGO_ENABLED=0 go)

# all_or_nothing NAME COMMAND…: the command fills the folder NAME of .tools, which is there only if it could.
all_or_nothing() {
  local folder=$TOOLS/$1
  [[ -d $folder ]] && return
  rm -rf "$folder.part"
  mkdir -p "$folder.part"
  "${@:2}" "$folder.part" || die "$1 cannot be had"
  mv "$folder.part" "$folder"
}

# Keycloak: its distribution, from Maven Central.

install_keycloak() {
  have java || install_packages default-jre-headless
  have mvn || install_packages maven
  all_or_nothing "keycloak-$KEYCLOAK_VERSION" get_keycloak
  export KEYCLOAK=$TOOLS/keycloak-$KEYCLOAK_VERSION
}

# The optimised build is for a database in memory, so that each start finds an empty one.
get_keycloak() {
  local archive=keycloak-quarkus-dist-$KEYCLOAK_VERSION.tar.gz
  quietly "getting Keycloak $KEYCLOAK_VERSION from Maven Central" mvn --batch-mode --quiet dependency:copy \
    -Dartifact="org.keycloak:keycloak-quarkus-dist:$KEYCLOAK_VERSION:tar.gz" -DoutputDirectory="$1" || return
  tar -xzf "$1/$archive" -C "$1" --strip-components 1 && rm "$1/$archive" || return
  quietly "preparing Keycloak" "$1/bin/kc.sh" build --db=dev-mem --cache=local --health-enabled=true
}

# kube-apiserver, from the Go module proxy, and Debian's etcd beside it.

install_kubernetes() {
  need_go
  all_or_nothing "kubernetes-$KUBERNETES_VERSION" get_kubernetes
  export KUBERNETES=$TOOLS/kubernetes-$KUBERNETES_VERSION
}

get_kubernetes() {
  quietly "getting etcd from Debian" get_etcd "$1" || return
  build_kubernetes "$1"
}

# The package's program alone: to install the package is to start a server.
get_etcd() (
  cd "$1"
  if have etcd; then
    ln -s "$(command -v etcd)" etcd
  else
    apt-get download etcd-server || { as_root apt-get update && apt-get download etcd-server; } || return
    dpkg-deb --fsys-tarfile etcd-server_*.deb | tar --extract --strip-components 3 ./usr/bin/etcd && rm etcd-server_*.deb
  fi
)

build_kubernetes() {
  local version=k8s.io/component-base/version
  local major=${KUBERNETES_VERSION%%.*} rest=${KUBERNETES_VERSION#*.}
  build_go kubernetes "kube-apiserver $KUBERNETES_VERSION" "$1/kube-apiserver" \
    "-X $version.gitVersion=v$KUBERNETES_VERSION -X $version.gitMajor=$major -X $version.gitMinor=${rest%%.*}"
}

# SpiceDB, from the Go module proxy.

install_spicedb() {
  need_go
  all_or_nothing "spicedb-$SPICEDB_VERSION" build_spicedb
  export SPICEDB=$TOOLS/spicedb-$SPICEDB_VERSION
}

build_spicedb() {
  GOBIN=$1 quietly "building SpiceDB $SPICEDB_VERSION: minutes, once" "${GO[@]}" install -trimpath \
    -ldflags "-s -w" "github.com/authzed/spicedb/cmd/spicedb@v$SPICEDB_VERSION"
}

# Authorino, from the Go module proxy, in a program of ours that needs no cluster.

# The program around it is ours: another one is built anew.
install_authorino() {
  need_go
  local ours
  ours=$(cat tests/peers/authorino/{*.go,go.sum} | sha256sum)
  all_or_nothing "authorino-$AUTHORINO_VERSION-${ours:0:8}" build_authorino
  export AUTHORINO=$TOOLS/authorino-$AUTHORINO_VERSION-${ours:0:8}
}

build_authorino() {
  build_go authorino "Authorino $AUTHORINO_VERSION" "$1/authorino" "" || return
  local module
  module=$(go_module "github.com/kuadrant/authorino@v$AUTHORINO_VERSION") || return
  cp "$module/install/manifests.yaml" "$1/" && echo "$AUTHORINO_VERSION" >"$1/version"
}

# OPA, from the Go module proxy. Its test-suite, which has another folder, is that of `./build.sh opa`.

install_opa() {
  need_go
  have python3 || install_packages python3-minimal
  all_or_nothing "opa-server-$OPA_VERSION" build_opa
  export OPA=$TOOLS/opa-server-$OPA_VERSION
}

build_opa() {
  GOBIN=$1 quietly "building OPA $OPA_VERSION: minutes, once" "${GO[@]}" install -trimpath \
    -ldflags "-s -w" "github.com/open-policy-agent/opa@v$OPA_VERSION"
}

# Go

need_go() {
  have go || install_packages golang-go
}

# build_go FOLDER WHAT PROGRAM LINKER_FLAGS: the program of a folder here, whose go.mod and go.sum pin all of it.
build_go() (
  cd "tests/peers/$1"
  quietly "building $2: minutes, once" "${GO[@]}" build -trimpath -ldflags "-s -w $4" -o "$3" .
)

# go_module MODULE@VERSION: prints where it is, once it is there.
go_module() {
  say "getting $1 from the Go module proxy"
  go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' | grep .
}
