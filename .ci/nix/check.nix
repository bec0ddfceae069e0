# Evaluates everything that flake.nix offers, for every system, against the stand-in for nixpkgs, and fails where it is not
# what it should be. The value is text for .ci/nix/check, which tries it.
let
  inherit (builtins) all attrNames concatStringsSep deepSeq elem fromJSON fromTOML head isString match readFile toJSON;

  flake = import ../../flake.nix;
  lock = fromJSON (readFile ../../flake.lock);
  workspace = (fromTOML (readFile ../../Cargo.toml)).workspace;

  outputs =
    executes:
    let
      result = flake.outputs {
        self = result;
        nixpkgs = import ./nixpkgs.nix { inherit executes; };
      };
    in
    result;
  native = outputs true;
  cross = outputs false;

  same =
    what: wanted: found:
    if wanted == found then true else throw "${what}. wanted=${toJSON wanted} found=${toJSON found}";
  must = what: condition: if condition then true else throw what;
  names = map (tool: tool.name);

  systems = [ "aarch64-darwin" "aarch64-linux" "x86_64-darwin" "x86_64-linux" ];
  programs = {
    rdb-cli = "rdb";
    rdb-pd = "rdb-pd";
    rdb-server = "rdb-server";
  };

  # Nix reads the inputs without evaluating anything, so they have to be literal; and what is locked is what they name.
  locked =
    let
      node = lock.nodes.nixpkgs;
      inherit (node) original;
    in
    [
      (same "flake.nix has other inputs" { nixpkgs.url = "github:${original.owner}/${original.repo}/${original.ref}"; } flake.inputs)
      (same "flake.lock has other nodes" [ "nixpkgs" "root" ] (attrNames lock.nodes))
      (same "flake.lock names other inputs" { nixpkgs = "nixpkgs"; } lock.nodes.root.inputs)
      (same "flake.lock is of another version" 7 lock.version)
      (same "what is locked is not what is named" { inherit (original) owner repo type; } {
        inherit (node.locked) owner repo type;
      })
      (must "the locked revision is no commit" (match "[0-9a-f]{40}" node.locked.rev != null))
      (must "the locked hash is none" (match "sha256-[A-Za-z0-9+/]{43}=" node.locked.narHash != null))
    ];

  shell =
    system:
    let
      tools = names native.devShells.${system}.default.nativeBuildInputs;
    in
    map (tool: must "the shell of ${system} lacks ${tool}" (elem tool tools)) [
      "cargo"
      "rustc"
      "clippy"
      "rustfmt"
      "ccache"
      "rust-bindgen-hook"
    ];

  package =
    system: crate:
    let
      found = native.packages.${system}.${crate};
      what = "${crate} of ${system}";
      libclang = elem "rust-bindgen-hook" (names found.nativeBuildInputs);
    in
    [
      (same "the name of ${what}" "${crate}-${workspace.package.version}" found.name)
      (same "the program of ${what}" programs.${crate} found.meta.mainProgram)
      (same "the licence of ${what}" [ "MIT" "Apache-2.0" ] (map (licence: licence.spdxId) found.meta.license))
      (same "the platforms of ${what}" systems (builtins.sort builtins.lessThan found.meta.platforms))
      # nixpkgs fetches a dependency by its checksum; one from git would want its hash in flake.nix.
      (must "${what} has a dependency without a checksum" (all (it: it ? source -> it ? checksum) found.dependencies))
      (must "${what} has no description" (isString found.meta.description && found.meta.description != ""))
      (same "whether libclang is there for ${what}" (crate != "rdb-cli") libclang)
      (same "what is installed by ${what} where nothing can be run" "" cross.packages.${system}.${crate}.postInstall)
      (must "${what} installs neither completions nor a manual page" (found.postInstall != ""))
    ];

  ofSystem =
    system:
    [
      (same "the packages of ${system}" ([ "default" ] ++ attrNames programs) (attrNames native.packages.${system}))
      (same "the default package of ${system}" "rdb-server" native.packages.${system}.default.pname)
      (same "the shells of ${system}" [ "default" ] (attrNames native.devShells.${system}))
      (shell system)
    ]
    ++ map (package system) (attrNames programs);

  checks = [
    locked
    (same "the outputs" [ "devShells" "packages" ] (attrNames native))
    (same "the systems of packages" systems (attrNames native.packages))
    (same "the systems of devShells" systems (attrNames native.devShells))
    (map ofSystem systems)
    (map (member: must "the source lacks the manifest of ${member}" (elem "${member}/Cargo.toml" source)) workspace.members)
  ];

  sample = native.packages.${head systems};
  source = sample.default.src.files;
in
deepSeq [ flake.description native cross checks ] {
  programs = concatStringsSep "\n" (map (crate: "${crate} ${programs.${crate}}") (attrNames programs));
  install = builtins.mapAttrs (crate: _: sample.${crate}.postInstall) programs;
  source = concatStringsSep "\n" source;
}
