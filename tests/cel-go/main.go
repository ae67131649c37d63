// Says of each expression on standard input what cel-go makes of it: outcome, value or error, expression.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"reflect"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker/decls"
	"github.com/google/cel-go/ext"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

const request = `{
"metadata": {},
"request": {"headers": {":authority": "api.example", ":method": "GET", ":path": "/a?b=c", "empty": "", "x-role": "admin",
  "x-two": "1,2"}, "host": "api.example", "method": "GET", "path": "/a?b=c", "query": "b=c", "size": 12,
  "time": {"nanos": 5, "seconds": 1700000000}, "url_path": "/a"},
"source": {"address": "10.0.0.1", "port": 1234},
"destination": {},
"auth": {"identity": {"sub": "joe", "age": 35, "half": 1.5, "big": 9007199254740993, "roles": ["admin", "dev"],
  "mixed": [1, "a", null, true, {"k": "v"}], "nested": {"a": {"b": "c"}}, "none": null, "flag": true, "off": false,
  "empty": "", "uni": "héllo wörld", "list0": [], "map0": {}}}
}`

func main() {
	var variables []cel.EnvOption
	input := map[string]any{}
	var roots map[string]json.RawMessage
	must(json.Unmarshal([]byte(request), &roots))
	for name, value := range roots {
		object := &structpb.Struct{}
		must(protojson.Unmarshal(value, object))
		input[name] = object
		variables = append(variables, cel.Declarations(decls.NewVar(name, decls.NewObjectType("google.protobuf.Struct"))))
	}
	env, err := cel.NewEnv(append(variables, ext.Strings(), cel.OptionalTypes())...)
	must(err)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		outcome, text := say(env, input, lines.Text())
		fmt.Printf("%s\t%s\t%s\n", outcome, text, lines.Text())
	}
	must(lines.Err())
}

func say(env *cel.Env, input map[string]any, source string) (string, string) {
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		return "refused", ""
	}
	program, err := env.Program(ast)
	if err != nil {
		return "refused", ""
	}
	value, _, err := program.Eval(input)
	if err != nil {
		return "error", err.Error()
	}
	// Errors of the conversion are told in other words.
	converted, err := value.ConvertToNative(reflect.TypeOf(&structpb.Value{}))
	if err != nil {
		return "error", ""
	}
	text, err := protojson.Marshal(converted.(*structpb.Value))
	if err != nil {
		return "error", ""
	}
	// protojson puts in spaces at random.
	var compact any
	must(json.Unmarshal(text, &compact))
	text, err = json.Marshal(compact)
	must(err)
	return "value", string(text)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
