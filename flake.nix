{
  description = "FlareDB: a key-value store with compare-and-swap and pluggable engines";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      perSystem = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});

      workspace = (lib.importTOML ./Cargo.toml).workspace.package;

      # What cargo reads, tests included: it wants every manifest of the workspace. An edit of anything else, such as
      # documentation, builds nothing again.
      source = lib.fileset.toSource {
        root = ./.;
        fileset = lib.fileset.unions [
          ./Cargo.lock
          (lib.fileset.fileFilter (file: lib.any file.hasExt [ "rs" "toml" "proto" ]) ./.)
        ];
      };

      # One crate's program. `completions` and `man` are what its command line calls them.
      program =
        pkgs:
        {
          crate,
          command,
          completions,
          man,
          hooks ? [ ],
        }:
        pkgs.rustPlatform.buildRustPackage {
          pname = crate;
          inherit (workspace) version;
          src = source;
          cargoLock.lockFile = ./Cargo.lock;
          cargoBuildFlags = [ "--package" crate ];
          nativeBuildInputs = [ pkgs.installShellFiles ] ++ hooks;

          # The tests take the whole workspace, RocksDB a second time, and minutes: CI runs them. Here the program has
          # to start and to tell its version.
          doCheck = false;
          doInstallCheck = true;
          nativeInstallCheckInputs = [ pkgs.versionCheckHook ];

          # By files, not `<(...)`: a program that fails ends the build.
          postInstall = lib.optionalString (pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform) ''
            for shell in bash zsh fish; do
              $out/bin/${command} ${completions} $shell > ${command}.$shell
              installShellCompletion --cmd ${command} --$shell ${command}.$shell
            done
            $out/bin/${command} ${man} > ${command}.1
            installManPage ${command}.1
          '';

          meta = {
            description = lib.removeSuffix "." (lib.importTOML (./. + "/${crate}/Cargo.toml")).package.description;
            homepage = workspace.repository;
            license = with lib.licenses; [ mit asl20 ];
            platforms = systems;
            mainProgram = command;
          };
        };
    in
    {
      # RocksDB is the one that librocksdb-sys brings, compiled here, and not nixpkgs': what ships is what CI tests. Its
      # bindings want libclang, which the hook finds.
      packages = perSystem (
        pkgs:
        let
          hooks = [ pkgs.rustPlatform.bindgenHook ];
          server = {
            completions = "--completions";
            man = "--man";
            inherit hooks;
          };
        in
        rec {
          default = rdb-server;
          rdb-server = program pkgs ({ crate = "rdb-server"; command = "rdb-server"; } // server);
          rdb-pd = program pkgs ({ crate = "rdb-pd"; command = "rdb-pd"; } // server);
          rdb-cli = program pkgs {
            crate = "rdb-cli";
            command = "rdb";
            completions = "completions";
            man = "man";
          };
        }
      );

      # What ./dev needs, and what `./dev check` takes where it is there.
      devShells = perSystem (pkgs: {
        default = pkgs.mkShell {
          nativeBuildInputs = [
            pkgs.cargo
            pkgs.rustc
            pkgs.clippy
            pkgs.rustfmt
            pkgs.cargo-deny
            pkgs.ccache
            pkgs.shellcheck
            pkgs.rustPlatform.bindgenHook
          ];
        };
      });
    };
}
