"""Feature views that are computed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from featurestore.definitions.arguments import check_list, check_mapping, check_text
from featurestore.definitions.field import Field
from featurestore.definitions.functions import PythonFunction, checked_examples, examples_from_json, examples_to_json
from featurestore.definitions.names import check_name, check_unique
from featurestore.definitions.shared import SharedView, view_from_spec
from featurestore.definitions.uses import distinct, use_of
from featurestore.definitions.views import FeatureView, ViewProjection, check_schema
from featurestore.errors import DefinitionError
from featurestore.places import remember

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, kw_only=True)
class OnDemandFeatureView:
    """Features computed from others, and from the request; by SQL expressions, or by a Python function.

    The same engine computes them offline and online, so training and serving agree, in these corners too: an expression
    over integers that overflows wraps round, as in Polars; division by zero gives an infinity, or NaN for 0 / 0; a null
    input gives null, unless the expression says otherwise. The result, of a function too, is then cast to the declared
    type: a fraction is cut to an integer, and what the type cannot hold (an infinity as an Int64) is null.

    :func:`on_demand_feature_view` makes one of a Python function.

    Attributes:
        name: its name in the project.
        inputs: the feature views whose features the expressions name, or the function takes; of other projects too. A
            use of a view under a name of its own gives them under their full names: ``dest_weather__temp``.
        request: values that come with each request.
        schema: the features it gives.
        expressions: for each feature of the schema, a SQL expression over input features and request fields. Its
            result is cast to the declared type. Empty where there is a function.
        function: what computes all features in place of expressions.
        description: for people.
        owner: for people.
        tags: for people.

    Raises:
        DefinitionError: a feature without an expression, both expressions and a function, an example that does not fit
            the columns, or a name that two inputs share.
    """

    name: str
    schema: Sequence[Field]
    expressions: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[FeatureView | ViewProjection | SharedView] = ()
    request: Sequence[Field] = ()
    function: PythonFunction | None = None
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        remember(self)
        check_name(self.name, "an on-demand feature view")
        what = f'On-demand feature view "{self.name}"'
        fields = check_schema(self.schema, what)
        inputs = check_list(self.inputs, what, "inputs")
        request = check_list(self.request, what, "request")
        expressions = check_mapping(self.expressions, what, "expressions")
        for view in inputs:
            if not isinstance(view, (FeatureView, ViewProjection, SharedView)):
                raise DefinitionError(f"{what} has {view!r} as an input.", hint="Inputs are FeatureView objects.")
            if isinstance(view, (ViewProjection, SharedView)) and view.features is not None:
                called = view.reference if isinstance(view, SharedView) else view.name
                raise DefinitionError(
                    f'{what} has some features of "{called}" as an input.',
                    hint="An input is a whole view; its expressions take what they need of it.",
                )
        for one in request:
            if not isinstance(one, Field):
                raise DefinitionError(f"{what} has {one!r} in its request, which is not a Field.")
        if not inputs and not request:
            raise DefinitionError(f"{what} has neither inputs nor request fields.")
        names = [one.name for one in fields]
        if self.function is None:
            _check_expressions(expressions, names, what)
        elif not isinstance(self.function, PythonFunction):
            raise DefinitionError(
                f"{what} has {self.function!r} as its function.", hint="Decorate it: @on_demand_feature_view(...)."
            )
        elif expressions:
            raise DefinitionError(
                f"{what} has both expressions and a function.", hint="Make two views of it, or keep one of the two."
            )
        for text in ("description", "owner"):
            check_text(getattr(self, text), what, text)
        object.__setattr__(self, "schema", fields)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "request", request)
        object.__setattr__(self, "expressions", {name: expressions[name] for name in names if name in expressions})
        object.__setattr__(self, "tags", check_mapping(self.tags, what, "tags"))
        if self.shared:
            return  # the rest can be checked once the registry has been asked what these are
        distinct(self.uses, what)
        check_unique([one.name for one in self.given] + names, what)
        if self.function is not None:
            examples = checked_examples(self.function.examples, self.given, fields, what)
            object.__setattr__(self, "function", replace(self.function, examples=examples))

    @property
    def shared(self) -> tuple[SharedView, ...]:
        """The inputs of other projects that the registry has not been asked for yet."""
        return tuple(one for one in self.inputs if isinstance(one, SharedView))

    @property
    def uses(self) -> tuple[ViewProjection, ...]:
        """The inputs, each as a use of a view.

        Raises:
            DefinitionError: one is of another project, and the registry has not been asked for it yet.
        """
        return tuple(one.unknown() if isinstance(one, SharedView) else use_of(one) for one in self.inputs)

    @property
    def input_views(self) -> tuple[FeatureView, ...]:
        """The views that its inputs are, or use; one that it uses twice stands there twice.

        Raises:
            DefinitionError: one is of another project, and the registry has not been asked for it yet.
        """
        return tuple(
            one.unknown() if isinstance(one, SharedView) else one.view if isinstance(one, ViewProjection) else one
            for one in self.inputs
        )

    @property
    def given(self) -> tuple[Field, ...]:
        """What it computes from: the features of its inputs, then its request fields, in order."""
        return (*(one for use in self.uses for one in use.outputs), *self.request)

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values; inputs count in full."""
        spec: dict[str, Any] = {
            "name": self.name,
            "inputs": [use.view.spec() | ({"use": use.spec()} if use.spec() else {}) for use in self.uses],
            "request": [one.spec() for one in self.request],
            "schema": [one.spec() for one in self.schema],
        }
        if self.function is None:
            return spec | {"expressions": {name: text.strip() for name, text in self.expressions.items()}}
        return spec | {"function": self.function.spec()}

    def notes(self) -> dict[str, Any]:
        """Return what only people read, and the examples of a function, which change no value."""
        notes: dict[str, Any] = {
            "description": self.description,
            "owner": self.owner,
            "tags": dict(self.tags),
            "schema": [one.notes() for one in self.schema],
            "request": [one.notes() for one in self.request],
            "inputs": [view.notes() for view in self.input_views],
        }
        if self.function is not None:
            notes["examples"] = examples_to_json(self.function.examples, (*self.given, *self.schema))
        return notes

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any]) -> OnDemandFeatureView:
        """Return the on-demand view that :meth:`spec` and :meth:`notes` came from."""
        rest = {key: notes[key] for key in notes if key not in ("schema", "request", "inputs", "examples")}
        inputs = [_input(*pair) for pair in zip(spec["inputs"], notes["inputs"], strict=True)]
        request = [Field.from_spec(*pair) for pair in zip(spec["request"], notes["request"], strict=True)]
        schema = [Field.from_spec(*pair) for pair in zip(spec["schema"], notes["schema"], strict=True)]
        function = None
        if "function" in spec:
            columns = [*(one for view in inputs for one in use_of(view).outputs), *request, *schema]
            function = PythonFunction(
                source=spec["function"]["source"],
                packages=tuple(spec["function"]["packages"]),
                examples=examples_from_json(notes["examples"], columns),
            )
        return cls(
            name=spec["name"],
            inputs=inputs,
            request=request,
            schema=schema,
            expressions=spec.get("expressions", {}),
            function=function,
            **rest,
        )


def _input(spec: Mapping[str, Any], notes: Mapping[str, Any]) -> FeatureView | ViewProjection:
    view = view_from_spec(spec, notes)
    return ViewProjection(view=view, **spec["use"]) if "use" in spec else view


def _check_expressions(expressions: Mapping[str, str], names: Sequence[str], what: str) -> None:
    for missing in sorted(set(names) - set(expressions)):
        raise DefinitionError(
            f'{what} has no expression for "{missing}".', hint=f'Add expressions={{"{missing}": "..."}}.'
        )
    for surplus in sorted(set(expressions) - set(names)):
        raise DefinitionError(f'{what} has an expression for "{surplus}", which is not in its schema.')


if TYPE_CHECKING:
    #: A batch of rows in, as many rows of features out.
    BatchFunction = Callable[[pl.DataFrame], pl.DataFrame | Mapping[str, pl.Series]]


def on_demand_feature_view(
    *,
    schema: Sequence[Field],
    inputs: Sequence[FeatureView | ViewProjection | SharedView] = (),
    request: Sequence[Field] = (),
    packages: Sequence[str] = (),
    examples: Sequence[Mapping[str, Any]] = (),
    name: str | None = None,
    description: str = "",
    owner: str = "",
    tags: Mapping[str, str] | None = None,
) -> Callable[[BatchFunction], OnDemandFeatureView]:
    """Return a decorator that makes an on-demand view of a function over batches of rows.

    ::

        @on_demand_feature_view(
            inputs=[weather],
            schema=[Field(name="chill", dtype=Float64)],
            examples=[{"temp": 30.0, "wind": 10.0, "chill": 25.0}],
        )
        def chill(rows: pl.DataFrame) -> dict[str, pl.Series]:
            return {"chill": rows["temp"] - rows["wind"] / 2}

    The function gets a Polars frame with every feature of the inputs and every request field, and returns a frame or a
    dict of Series with at least the columns of the schema: for each row, one, which no other row changes. Frames that
    it gets have at least two rows (a single one comes twice), because Polars rounds some divisions of a single row
    otherwise.

    Its text is kept in the registry and runs from there, offline and in every server, without the module that it stands
    in: it has ``pl`` and the builtins, and imports inside of itself what else it needs. So **whoever may apply to a
    registry may run code on every machine that serves or trains from it**; nothing fences it in.

    Args:
        schema: the features that it gives.
        inputs: the feature views whose features it takes.
        request: values that come with each request.
        packages: the distributions that it imports, beside Polars and the standard library: plain names.
        examples: rows, each with inputs and the features that are right for them; an input that is left out has its
            field's default, or is null. They are tried whenever the function is compiled: whole numbers and texts must
            be equal, floats to a relative 1e-9 (Float32: 1e-6).
        name: the view's; the function's where it is left out.
        description: for people.
        owner: for people.
        tags: for people.

    Raises:
        DefinitionError: (by the decorator) the function is not plain, has no source, uses its module, imports what is
            not declared, or shows in its text that its values are no function of its rows; or a part of the view is
            wrong.
    """

    def decorate(function: BatchFunction) -> OnDemandFeatureView:
        known = name if name is not None else getattr(function, "__name__", "")
        what = f'On-demand feature view "{known}"'
        return OnDemandFeatureView(
            name=known,
            schema=schema,
            inputs=inputs,
            request=request,
            function=PythonFunction.of(function, packages, examples, what),
            description=description,
            owner=owner,
            tags={} if tags is None else tags,
        )

    return decorate
