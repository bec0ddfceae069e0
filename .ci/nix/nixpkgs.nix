# As much of nixpkgs as flake.nix uses, under the same names, so that CI evaluates the flake without a network. It is
# closed: a name or an argument that is not here is an error, and one that flake.nix starts to use is added by hand, after
# a look at nixpkgs' manual. A package is what it was asked to be, and builds nothing.
#
# `executes` is whether the machine that builds can run what it builds.
{ executes }:
let
  inherit (builtins) attrNames concatMap elem filter pathExists readDir readFile stringLength substring;

  hasSuffix =
    suffix: text:
    stringLength text >= stringLength suffix
    && substring (stringLength text - stringLength suffix) (-1) text == suffix;

  # Every file below a folder; a flake sees what git tracks, so none of these folders.
  walk =
    folder:
    let
      entries = removeAttrs (readDir folder) [ ".git" ".flaredb" "target" ];
      below = name: if entries.${name} == "directory" then walk (folder + "/${name}") else [ (folder + "/${name}") ];
    in
    concatMap below (attrNames entries);

  lib = {
    inherit (builtins) any;
    genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
    importTOML = path: builtins.fromTOML (readFile path);
    licenses = {
      mit.spdxId = "MIT";
      asl20.spdxId = "Apache-2.0";
    };
    optionalString = condition: text: if condition then text else "";
    removeSuffix =
      suffix: text:
      if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;

    # A file set is the list of its files.
    fileset = {
      fileFilter =
        wanted: folder:
        filter (
          path:
          let
            name = baseNameOf path;
          in
          wanted { inherit name; type = "regular"; hasExt = extension: hasSuffix ".${extension}" name; }
        ) (walk folder);
      unions = concatMap (
        part:
        if builtins.isList part then part
        else if pathExists part then [ part ]
        else throw "a file set names what is not there. path=${toString part}"
      );
      toSource =
        { root, fileset }:
        {
          files = map (
            path: substring (stringLength (toString root) + 1) (-1) (toString path)
          ) fileset;
        };
    };
  };

  tool = name: { inherit name; };

  package =
    {
      pname,
      version,
      src,
      cargoLock,
      cargoBuildFlags ? [ ],
      nativeBuildInputs ? [ ],
      nativeInstallCheckInputs ? [ ],
      doCheck ? true,
      doInstallCheck ? false,
      postInstall ? "",
      meta,
    }@arguments:
    arguments
    // {
      type = "derivation";
      name = "${pname}-${version}";
      dependencies = (({ lockFile }: builtins.fromTOML (readFile lockFile)) cargoLock).package;
      meta = describe meta;
    };

  describe =
    { description, homepage, license, platforms, mainProgram }@meta:
    if builtins.all (platform: elem platform systems) platforms then meta else throw "an unknown platform";

  systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];

  packagesOf = system: {
    cargo = tool "cargo";
    cargo-deny = tool "cargo-deny";
    ccache = tool "ccache";
    clippy = tool "clippy";
    installShellFiles = tool "install-shell-files";
    mkShell = { nativeBuildInputs }: { type = "derivation"; name = "nix-shell"; inherit nativeBuildInputs; };
    rustPlatform = {
      bindgenHook = tool "rust-bindgen-hook";
      buildRustPackage = package;
    };
    rustc = tool "rustc";
    rustfmt = tool "rustfmt";
    shellcheck = tool "shellcheck";
    stdenv = {
      buildPlatform.canExecute = platform: platform.system == system && executes;
      hostPlatform = { inherit system; };
    };
    versionCheckHook = tool "version-check-hook";
  };
in
{
  inherit lib;
  legacyPackages = lib.genAttrs systems packagesOf;
}
