//! What usage costs: `cargo bench -p tests --bench usage`, with `-- small` for a look of a minute.
//!
//! The engine runs in a process of its own, so that memory and processor time are the functions' alone.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "what does not work ends a benchmark, and its figures are rounded anyway"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, SharedInterceptor};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use futures::StreamExt;
use local::engine::{Engine, Storage};
use serde_json::{Value, json};
use shared::App;
use shared::app::RequiredSecrets;
use shared::clock::Clock;
use shared::config::Config;
use shared::event::Deadline;
use shared::ids::{WorkspaceId, random_bytes};
use shared::store::keys::{SHARDS, shard_of};

/// Calls of each kind since the last look, and the items that they read in queries and wrote in transactions.
#[derive(Debug, Default)]
struct Counts {
    queries: AtomicU64,
    gets: AtomicU64,
    transactions: AtomicU64,
    others: AtomicU64,
    items_read: AtomicU64,
    items_written: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Counter(Arc<Counts>);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "Counter"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let counter = match bag.load::<Metadata>().map(Metadata::name) {
            Some("Query") => &self.0.queries,
            Some("BatchGetItem") => &self.0.gets,
            Some("TransactWriteItems") => &self.0.transactions,
            _ => &self.0.others,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The embedded engine looks at every token of the last ten minutes in each transaction, so that its time would grow with
    /// the square of the transactions. DynamoDB does not; without the token it does not either.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if bag.load::<Metadata>().map(Metadata::name) != Some("TransactWriteItems") {
            return Ok(());
        }
        let request = context.request_mut();
        let mut body = std::str::from_utf8(request.body().bytes().unwrap_or_default())?.to_owned();
        let writes = WRITES.iter().map(|write| body.matches(write).count()).sum::<usize>();
        self.0.items_written.fetch_add(writes.try_into()?, Ordering::Relaxed);
        let at = body.find(TOKEN).ok_or("the token is not where it was")?;
        body.replace_range(at..at + TOKEN.len() + 37, "");
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body);
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Ok(output) = context.output_or_error()
            && let Some(page) = output.downcast_ref::<QueryOutput>()
        {
            let read = page.scanned_count().try_into()?;
            self.0.items_read.fetch_add(read, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// How a transaction's token begins; 36 characters and a quote follow.
const TOKEN: &str = r#","ClientRequestToken":""#;

/// How each item that a transaction writes begins; a condition on another item writes none.
const WRITES: [&str; 3] = [r#"{"Put":{"#, r#"{"Update":{"#, r#"{"Delete":{"#];

impl Counter {
    fn take(&self) -> [u64; 6] {
        let Counts {
            queries,
            gets,
            transactions,
            others,
            items_read,
            items_written,
        } = &*self.0;
        [queries, gets, transactions, others, items_read, items_written].map(|count| count.swap(0, Ordering::Relaxed))
    }
}

/// The engine's process; it ends with this value.
struct EngineProcess(Child);

impl EngineProcess {
    fn start() -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("engine")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut endpoint = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut endpoint)
            .unwrap();
        (Self(child), endpoint.trim().to_owned())
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// This process's processor time in seconds and its peak memory in MiB.
fn consumed() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    (ticks / 100.0, peak_kib / 1024)
}

struct Bench {
    app: App,
    counter: Counter,
    workspaces: Vec<WorkspaceId>,
}

impl Bench {
    async fn new(endpoint: String, workspaces: usize) -> Self {
        let counter = Counter::default();
        let config = Config::local(endpoint.clone(), endpoint, format!("usage-{workspaces}"));
        let interceptor = SharedInterceptor::new(counter.clone());
        let app = App::start(config, Clock::system(), RequiredSecrets::NONE, Some(interceptor))
            .await
            .unwrap();
        shared::store::table::create(app.store.client(), app.store.table())
            .await
            .unwrap();
        let bench = Self {
            app,
            counter,
            workspaces: (0..workspaces)
                .map(|_| WorkspaceId::from_bytes(random_bytes()))
                .collect(),
        };
        bench.make_workspaces().await;
        bench
    }

    /// Rows that are enough for a workspace to be known.
    async fn make_workspaces(&self) {
        futures::stream::iter(self.workspaces.chunks(25))
            .for_each_concurrent(8, async |chunk| {
                let puts = chunk.iter().map(|id| {
                    let text = |text: String| AttributeValue::S(text);
                    let put = PutRequest::builder()
                        .item("pk", text(format!("WS#{id}")))
                        .item("sk", text("WS".to_owned()))
                        .item("entity", text("workspace".to_owned()))
                        .item("id", text(id.to_string()));
                    WriteRequest::builder().put_request(put.build().unwrap()).build()
                });
                let write = self.app.store.client().batch_write_item();
                write
                    .request_items(self.app.store.table(), puts.collect())
                    .send()
                    .await
                    .unwrap();
            })
            .await;
    }

    fn message(&self, workspace: WorkspaceId) -> Value {
        let id = WorkspaceId::from_bytes(random_bytes());
        let record = json!({
            "id": id, "workspace_id": workspace, "kind": "location_event", "count": 1, "occurred_at": self.app.now(),
        });
        json!({"messageId": id, "body": record.to_string(), "attributes": {}, "messageAttributes": {}})
    }

    async fn ingest(&self, messages: &[Value]) {
        let event = serde_json::from_value(json!({ "Records": messages })).unwrap();
        let deadline = Deadline::after(Duration::from_secs(900));
        let answer = usage_ingest::handle(self.app.clone(), event, deadline).await.unwrap();
        assert_eq!(serde_json::to_value(answer).unwrap(), json!({"batchItemFailures": []}));
    }

    /// Batches of `size` records through the handler, one after the other: of one workspace, and of as many as records.
    async fn ingest_rate(&self, size: usize, batches: usize) {
        for (of, spread) in [("one workspace", false), ("a workspace each", true)] {
            let batches: Vec<Vec<Value>> = (0..batches)
                .map(|_| {
                    let of_record = |number: usize| self.workspaces[if spread { number } else { 0 }];
                    (0..size).map(|number| self.message(of_record(number))).collect()
                })
                .collect();
            self.counter.take();
            let (started, (cpu_before, _)) = (Instant::now(), consumed());
            for batch in &batches {
                self.ingest(batch).await;
            }
            let (elapsed_s, (cpu_after, _)) = (started.elapsed().as_secs_f64(), consumed());
            let [_, gets, transactions, others, _, written] = self.counter.take();
            let records = (size * batches.len()) as f64;
            println!(
                "ingest, batches of {size:>5}, {of:<16}: {:>7.0} records/s, {:>7.0} a core of the function, {:.3} calls a record ({gets} reads, {transactions} transactions, {others} others), {:.3} items written beside its own",
                records / elapsed_s,
                records / (cpu_after - cpu_before),
                (gets + transactions + others) as f64 / records,
                written as f64 / records - 1.0,
            );
        }
    }

    /// Marks `dirty` of the workspaces as dirty, then runs once over all shards.
    async fn aggregate(&self, dirty: usize) {
        for chunk in self.workspaces[..dirty].chunks(1_000) {
            let messages: Vec<Value> = chunk.iter().map(|id| self.message(*id)).collect();
            self.ingest(&messages).await;
        }
        self.counter.take();
        // The peak from here on (proc_pid_clear_refs(5)); what the benchmark itself holds by now is in it.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let (started, (cpu_before, held_mib)) = (Instant::now(), consumed());
        let event = serde_json::from_value(json!({"source": "aws.scheduler"})).unwrap();
        let deadline = Deadline::after(Duration::from_secs(900));
        usage_aggregator::handle(self.app.clone(), event, deadline)
            .await
            .unwrap();
        let (elapsed_s, (cpu_after, peak_mib)) = (started.elapsed().as_secs_f64(), consumed());
        let [queries, gets, transactions, others, read, written] = self.counter.take();
        let each = |count: u64| count as f64 / dirty as f64;
        println!(
            "aggregate {dirty:>7} of {:>7}: {elapsed_s:>6.1} s, {:>6.0} workspaces/s, {:>4.0} us of processor each; calls each: {:.3} queries, {:.3} reads, {:.3} transactions, {:.3} others; items each: {:.3} read, {:.3} written; peak {peak_mib} MiB, {held_mib} of them before",
            self.workspaces.len(),
            dirty as f64 / elapsed_s,
            (cpu_after - cpu_before) * 1e6 / dirty as f64,
            each(queries),
            each(gets),
            each(transactions),
            each(others),
            each(read),
            each(written),
        );
    }
}

/// A million dirty workspaces, spread over the shards and the eight calls of the schedule, in memory. A shard's
/// dirty markers are one partition: 1,000 write units a second, of which a workspace takes two.
fn fan_out() {
    const WORKSPACES: usize = 1_000_000;
    const CALLS: usize = 8;
    const OF_A_SHARD_A_SECOND: usize = 500;
    let now = Clock::system().now();
    let mut shards = vec![0_usize; usize::from(SHARDS)];
    for _ in 0..WORKSPACES {
        shards[usize::from(shard_of(WorkspaceId::new(now)))] += 1;
    }
    let calls: Vec<usize> = shards
        .chunks(shards.len() / CALLS)
        .map(|shards| shards.iter().sum())
        .collect();
    let (least, most) = (shards.iter().min().unwrap(), shards.iter().max().unwrap());
    let busiest = calls.iter().max().unwrap();
    // Four shards of a call are worked on at once.
    let seconds = most.div_ceil(OF_A_SHARD_A_SECOND) * (shards.len() / CALLS / 4);
    println!(
        "fan-out of {WORKSPACES}: {} shards of {least} to {most}; {CALLS} calls, the busiest with {busiest}: {seconds} s at the partitions' own limit",
        shards.len(),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    if arguments.iter().any(|argument| argument == "engine") {
        runtime.block_on(async {
            let engine = Engine::start(&Storage::Memory).await.unwrap();
            println!("{}", engine.endpoint);
            std::future::pending::<()>().await;
        });
    }
    let small = arguments.iter().any(|argument| argument == "small");
    let (all, dirty) = if small {
        (10_000, vec![100, 1_000, 10_000])
    } else {
        (100_000, vec![1_000, 10_000, 100_000])
    };
    fan_out();
    runtime.block_on(async {
        let (_engine, endpoint) = EngineProcess::start();
        let bench = Bench::new(endpoint, all).await;
        bench.ingest_rate(10, 200).await;
        bench.ingest_rate(1_000, 4).await;
    });
    // Each on a table of its own: what was rolled up before would be read again.
    for dirty in dirty {
        runtime.block_on(async {
            let (_engine, endpoint) = EngineProcess::start();
            Bench::new(endpoint, all).await.aggregate(dirty).await;
        });
    }
}
