//! Runs a program one instruction at a time, and takes the price of each.
//!
//! The machine counts instructions, but one instruction can do a lot: compare two values that have shared parts without
//! end, or double a text. So before each one its operands are weighed, and after it what it made. What a value weighs was
//! paid when it was put together, so nothing weighs more than the fuel there was.

use std::fmt;
use std::sync::Arc;

use regorus::Value;
use regorus::rvm::instructions::{ComprehensionMode, Instruction};
use regorus::rvm::program::RuleType;
use regorus::rvm::vm::{CallRuleContext, ExecutionMode, ExecutionState, SuspendReason, VmError};
use regorus::rvm::{Program, RegoVM};

use super::builtins::{self, Surroundings};
use super::fuel::{Fuel, STEP, STEPS};

/// Built-in functions of regorus whose work is the product of their arguments.
const PRODUCTS: [&str; 7] = [
    "json.filter",
    "json.remove",
    "object.filter",
    "object.remove",
    "object.subset",
    "object.union_n",
    "strings.count",
];

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The policy takes too many steps.
    Runaway,
    /// It fails; why.
    Failed(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runaway => write!(f, "the policy takes more than {STEPS} steps"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl From<VmError> for Fault {
    fn from(error: VmError) -> Self {
        match error {
            VmError::InstructionLimitExceeded { .. } => Self::Runaway,
            error => {
                let text = error.to_string();
                Self::Failed(text.split(" (pc=").next().unwrap_or_default().to_owned())
            }
        }
    }
}

/// A machine with a program loaded.
pub fn new(program: &Arc<Program>, data: &Value) -> Result<RegoVM, Fault> {
    let mut machine = RegoVM::new();
    machine.load_program(Arc::clone(program));
    machine.set_data(data.clone())?;
    machine.set_execution_mode(ExecutionMode::Suspendable);
    machine.set_step_mode(true);
    machine.set_max_instructions(usize::try_from(STEPS).unwrap_or(usize::MAX));
    Ok(machine)
}

/// The value of an entry point.
pub fn run(
    machine: &mut RegoVM,
    program: &Program,
    entry: usize,
    surroundings: Surroundings<'_>,
    fuel: &mut Fuel,
) -> Result<Value, Fault> {
    let mut value = machine.execute_entry_point_by_index(entry)?;
    let (mut announced, mut results) = (None, Results::default());
    let mut mistake: Result<(), Fault> = Ok(());
    loop {
        let answer = match machine.execution_state() {
            ExecutionState::Suspended { reason: SuspendReason::HostAwait { argument, identifier, .. }, .. } => {
                Some(builtins::call(identifier, argument, surroundings, fuel)?)
            }
            ExecutionState::Suspended { .. } => None,
            _ => return Ok(value),
        };
        fuel.spend(STEP)?;
        let at = machine.get_pc();
        let toll = Toll { registers: machine.get_registers(), program };
        if announced == Some(at) {
            mistake?;
        } else {
            // It was reached by a jump.
            toll.before(at, fuel)?;
        }
        toll.after(at, fuel)?;
        results.watch(machine.get_call_stack(), &toll, at)?;
        let next = at.saturating_add(1);
        toll.before(next, fuel)?;
        mistake = toll.check(next);
        announced = Some(next);
        value = machine.resume(answer)?;
    }
}

/// What the rules under way have yielded so far. regorus calls a rule with two values undefined, and then `not` of it is
/// true; here, as in OPA, the policy fails.
#[derive(Default)]
struct Results(Vec<Option<Value>>);

impl Results {
    /// Looks at what an instruction did.
    fn watch(&mut self, calls: &[CallRuleContext], toll: &Toll<'_>, at: usize) -> Result<(), Fault> {
        use Instruction as I;
        self.0.resize(calls.len(), None);
        let (Some(call), Some(result)) = (calls.last(), self.0.last_mut()) else { return Ok(()) };
        let data = &toll.program.instruction_data;
        match toll.instruction(at) {
            Some(I::CallRule { rule_index, .. }) if *rule_index == call.rule_index => *result = None,
            Some(I::FunctionCall { params_index })
                if data.get_function_call_params(*params_index).map(|params| params.func_rule_index)
                    == Some(call.rule_index) =>
            {
                *result = None;
            }
            Some(
                I::Move { dest, .. }
                | I::Load { dest, .. }
                | I::LoadTrue { dest }
                | I::LoadFalse { dest }
                | I::LoadNull { dest }
                | I::LoadBool { dest, .. },
            ) if *dest == call.result_reg && call.rule_type == RuleType::Complete => {
                let value = toll.register(*dest);
                match result {
                    _ if *value == Value::Undefined => {}
                    Some(known) if known != value => {
                        let rule = toll.program.rule_infos.get(usize::from(call.rule_index));
                        let name = rule.and_then(|rule| rule.name.rsplit('.').next()).unwrap_or_default();
                        return Err(Fault::Failed(format!("the rule `{name}` has two values")));
                    }
                    Some(_) => {}
                    None => *result = Some(value.clone()),
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What instructions cost.
struct Toll<'a> {
    registers: &'a [Value],
    program: &'a Program,
}

impl Toll<'_> {
    fn instruction(&self, at: usize) -> Option<&Instruction> {
        self.program.instructions.get(at)
    }

    fn register(&self, register: u8) -> &Value {
        self.registers.get(usize::from(register)).unwrap_or(&Value::Undefined)
    }

    fn weigh(&self, registers: impl IntoIterator<Item = u8>, fuel: &mut Fuel) -> Result<(), Fault> {
        registers.into_iter().try_for_each(|register| fuel.weigh(self.register(register)))
    }

    /// Takes what an instruction's operands cost.
    fn before(&self, at: usize, fuel: &mut Fuel) -> Result<(), Fault> {
        use Instruction as I;
        let Some(instruction) = self.instruction(at) else { return Ok(()) };
        let data = &self.program.instruction_data;
        match *instruction {
            I::Add { left, right, .. }
            | I::Sub { left, right, .. }
            | I::Mul { left, right, .. }
            | I::Div { left, right, .. }
            | I::Mod { left, right, .. }
            | I::Eq { left, right, .. }
            | I::Ne { left, right, .. }
            | I::Lt { left, right, .. }
            | I::Le { left, right, .. }
            | I::Gt { left, right, .. }
            | I::Ge { left, right, .. }
            | I::AssertEq { left, right } => self.weigh([left, right], fuel),
            I::Contains { collection, value, .. } => match self.register(collection) {
                Value::Array(_) => self.weigh([collection, value], fuel),
                _ => self.weigh([value], fuel),
            },
            I::ArrayPush { value, .. } | I::ArrayPushDefined { value, .. } | I::SetAdd { value, .. } => {
                self.weigh([value], fuel)
            }
            I::ObjectSet { key, value, .. } => self.weigh([key, value], fuel),
            I::Index { key, .. } => self.weigh([key], fuel),
            I::ComprehensionYield { value_reg, key_reg } => self.weigh(key_reg.into_iter().chain([value_reg]), fuel),
            // A rule with several definitions compares what they yield.
            I::RuleReturn {} => self.weigh([0], fuel),
            I::Move { src, .. } => self.weigh([src], fuel),
            I::ArrayCreate { params_index } => match data.get_array_create_params(params_index) {
                Some(params) => self.weigh(params.elements.iter().copied(), fuel),
                None => Ok(()),
            },
            I::SetCreate { params_index } => match data.get_set_create_params(params_index) {
                Some(params) => self.weigh(params.elements.iter().copied(), fuel),
                None => Ok(()),
            },
            I::ObjectCreate { params_index } => match data.get_object_create_params(params_index) {
                Some(params) => {
                    self.weigh(params.literal_key_fields.iter().map(|(_, value)| *value), fuel)?;
                    self.weigh(params.fields.iter().flat_map(|(key, value)| [*key, *value]), fuel)
                }
                None => Ok(()),
            },
            I::BuiltinCall { params_index } => self.before_builtin(params_index, fuel),
            _ => Ok(()),
        }
    }

    /// What OPA would not let an instruction do, if it is carried out.
    fn check(&self, at: usize) -> Result<(), Fault> {
        match self.instruction(at) {
            Some(Instruction::ObjectSet { obj, key, value }) => self.check_key(*obj, *key, *value),
            Some(Instruction::ComprehensionYield { value_reg, key_reg }) => {
                match (self.comprehension(at), key_reg) {
                    (Some((ComprehensionMode::Object, object)), Some(key)) => self.check_key(*object, *key, *value_reg),
                    // regorus would put it in.
                    (Some((ComprehensionMode::Array, _)), _) if *self.register(*value_reg) == Value::Undefined => {
                        Err(Fault::Failed("an element of a list is undefined".to_owned()))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// The comprehension around an instruction: its kind, and the register of what it makes.
    fn comprehension(&self, at: usize) -> Option<(&ComprehensionMode, &u8)> {
        let comprehensions = self.program.instruction_data.comprehension_begin_params.iter();
        let around = comprehensions
            .filter(|params| (usize::from(params.body_start)..=usize::from(params.comprehension_end)).contains(&at));
        let inner = around.max_by_key(|params| params.body_start)?;
        Some((&inner.mode, &inner.result_reg))
    }

    /// A key of an object has one value.
    fn check_key(&self, object: u8, key: u8, value: u8) -> Result<(), Fault> {
        let known = match self.register(object) {
            Value::Object(members) => members.get(self.register(key)),
            _ => None,
        };
        match known {
            Some(known) if known != self.register(value) => {
                Err(Fault::Failed("a key of an object has two values".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn before_builtin(&self, params_index: u16, fuel: &mut Fuel) -> Result<(), Fault> {
        let Some(params) = self.program.instruction_data.get_builtin_call_params(params_index) else { return Ok(()) };
        let name = self.program.get_builtin_info(params.builtin_index).map_or("", |info| info.name.as_str());
        let mut extents = Vec::new();
        for register in params.arg_registers() {
            extents.push(fuel.extent(self.register(*register))?);
        }
        match extents.as_slice() {
            [one, other, ..] if PRODUCTS.contains(&name) => fuel.spend_product(*one, *other),
            _ => Ok(()),
        }
    }

    /// Takes what the value costs that an instruction made.
    fn after(&self, at: usize, fuel: &mut Fuel) -> Result<(), Fault> {
        use Instruction as I;
        match self.instruction(at) {
            Some(
                I::Add { dest, .. }
                | I::Sub { dest, .. }
                | I::Mul { dest, .. }
                | I::Div { dest, .. }
                | I::Mod { dest, .. },
            ) => self.weigh([*dest], fuel),
            Some(I::BuiltinCall { params_index }) => {
                let params = self.program.instruction_data.get_builtin_call_params(*params_index);
                self.weigh(params.map(|params| params.dest), fuel)
            }
            _ => Ok(()),
        }
    }
}
