"""The reference of proto/ as pages for the site: what protoc says of each file, its comments included."""

import html
import re
import subprocess
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

# A page for each package: its title, and the files.
PACKAGES = {
    "reference/denoise.v1.md": ("gRPC API: denoise.v1", ["denoise/v1/diffusion.proto"]),
    "reference/inference.md": (
        "gRPC API: Open Inference Protocol",
        ["inference/grpc_service.proto", "inference/model_config.proto"],
    ),
}
Field = pb.FieldDescriptorProto
# Numbers of fields of descriptor.proto, of which the paths of comments are made.
SYNTAX, MESSAGES, ENUMS, SERVICES = 12, 4, 5, 6
MESSAGE_FIELDS, MESSAGE_MESSAGES, MESSAGE_ENUMS = 2, 3, 4
SERVICE_METHODS = ENUM_VALUES = 2


def prose(comment: str) -> str:
    """HTML of a comment; words in `backticks` are code, empty lines part paragraphs."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(comment.strip(), quote=False))
    return re.sub(r"\n\s*\n", "<br><br>", text)


def table(heads: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="proto"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


class FilePage:
    """The part of a page that one .proto file is."""

    def __init__(self, file: pb.FileDescriptorProto, documented: set[str]):
        self._file = file
        self._documented = documented
        self._comments = {}
        for location in file.source_code_info.location:
            self._comments[tuple(location.path)] = [*location.leading_detached_comments, location.leading_comments]

    def text(self) -> str:
        package = f".{self._file.package}"
        parts = ["\n\n".join(f"<p>{prose(text)}</p>" for text in self._comments.get((SYNTAX,), []) if text.strip())]
        for i, service in enumerate(self._file.service):
            parts.append(self._service(service, f"{package}.{service.name}", (SERVICES, i)))
        for i, message in enumerate(self._file.message_type):
            parts.append(self._message(message, f"{package}.{message.name}", (MESSAGES, i)))
        for i, enum in enumerate(self._file.enum_type):
            parts.append(self._enum(enum, f"{package}.{enum.name}", (ENUMS, i)))
        return "\n\n".join(parts)

    def _comment(self, path: tuple[int, ...]) -> str:
        return prose(self._comments.get(path, [""])[-1])

    def _heading(self, kind: str, name: str, path: tuple[int, ...]) -> str:
        """Of a type, whose full name is its anchor."""
        short = name.removeprefix(f".{self._file.package}.")
        comment = self._comment(path)
        return f"## {kind} {short} {{#{name[1:]}}}\n\n" + (f"<p>{comment}</p>\n\n" if comment else "")

    def _link(self, name: str) -> str:
        short = name.removeprefix(f".{self._file.package}.").removeprefix(".")
        return f'<a href="#{name[1:]}">{short}</a>' if name in self._documented else short

    def _service(self, service, name: str, path: tuple[int, ...]) -> str:
        rows = []
        for i, method in enumerate(service.method):
            request = "stream " * method.client_streaming + self._link(method.input_type)
            response = "stream " * method.server_streaming + self._link(method.output_type)
            comment = self._comment((*path, SERVICE_METHODS, i))
            rows.append([f"<code>{method.name}</code>", f"{request} → {response}", comment])
        return self._heading("Service", name, path) + table(["method", "request → response", ""], rows)

    def _message(self, message, name: str, path: tuple[int, ...]) -> str:
        maps = {f"{name}.{nested.name}": nested for nested in message.nested_type if nested.options.map_entry}
        rows = []
        for i, field in enumerate(message.field):
            comment = self._comment((*path, MESSAGE_FIELDS, i))
            if field.HasField("oneof_index") and not field.proto3_optional:
                choice = message.oneof_decl[field.oneof_index].name
                comment = f"One of <code>{choice}</code>. {comment}"
            kind = f'<span class="proto-type">{self._type(field, maps)}</span>'
            rows.append([f"<code>{field.name}</code>", kind, str(field.number), comment])
        parts = [self._heading("Message", name, path)]
        parts.append(table(["field", "type", "number", ""], rows) if rows else "<p>Empty.</p>\n")
        for i, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                parts.append(self._message(nested, f"{name}.{nested.name}", (*path, MESSAGE_MESSAGES, i)))
        for i, enum in enumerate(message.enum_type):
            parts.append(self._enum(enum, f"{name}.{enum.name}", (*path, MESSAGE_ENUMS, i)))
        return "\n".join(parts)

    def _enum(self, enum, name: str, path: tuple[int, ...]) -> str:
        rows = []
        for i, value in enumerate(enum.value):
            comment = self._comment((*path, ENUM_VALUES, i))
            rows.append([f"<code>{value.name}</code>", str(value.number), comment])
        return self._heading("Enum", name, path) + table(["value", "number", ""], rows)

    def _type(self, field, maps: dict) -> str:
        if field.type_name in maps:
            key, value = maps[field.type_name].field
            return f"map&lt;{self._type(key, {})}, {self._type(value, {})}&gt;"
        named = self._link(field.type_name) if field.type_name else Field.Type.Name(field.type)[5:].lower()
        if field.label == Field.LABEL_REPEATED:
            return f"repeated {named}"
        return f"optional {named}" if field.proto3_optional else named


def names_of(file: pb.FileDescriptorProto) -> set[str]:
    """Full names of the types of a file."""

    def below(prefix: str, messages, enums):
        for enum in enums:
            yield f"{prefix}.{enum.name}"
        for message in messages:
            yield f"{prefix}.{message.name}"
            yield from below(f"{prefix}.{message.name}", message.nested_type, message.enum_type)

    return set(below(f".{file.package}", file.message_type, file.enum_type))


def described(root: Path, names: list[str]) -> list[pb.FileDescriptorProto]:
    with tempfile.NamedTemporaryFile() as out:
        command = ["protoc", "-I", str(root), "--include_source_info", "--descriptor_set_out", out.name, *names]
        subprocess.run(command, check=True)
        return list(pb.FileDescriptorSet.FromString(Path(out.name).read_bytes()).file)


def pages(root: Path) -> dict[str, str]:
    """Path of a page to its Markdown. `root`: the folder proto/."""
    made = {}
    for path, (title, names) in PACKAGES.items():
        files = described(root, names)
        documented = set().union(*(names_of(file) for file in files))
        made[path] = f"# {title}\n\n" + "\n\n".join(FilePage(file, documented).text() for file in files)
    return made
