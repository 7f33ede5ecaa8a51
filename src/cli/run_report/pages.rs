//! Putting the page together.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use burn::prelude::*;
use shortrun_report::{
    Overview, Page, Section, Status, commands, curves, evaluations, overview, settings, time,
};
use shortrun_train::{Method, MetricsLog, Record, RunFolder};

use super::{
    Report, ReportArgs,
    looks::{self, Looks},
    origin,
};
use crate::{
    cli::{Failure, run::LoadedRun, versions::invocation},
    run_config::RunConfig,
};

/// Makes the page of a run, again and again if need be.
pub(super) struct Pages<B: Backend> {
    args: ReportArgs,
    pub(super) folder: RunFolder,
    out: PathBuf,
    device: B::Device,
    parameters: usize,
    /// What was seen of the last checkpoint: it takes a while.
    looked: Option<Looks>,
    written: usize,
}

impl<B: Backend> Pages<B> {
    pub(super) fn new(
        args: ReportArgs,
        folder: RunFolder,
        out: PathBuf,
        device: B::Device,
    ) -> Result<Self, Failure> {
        let RunConfig {
            generator,
            method,
            training,
            ..
        } = RunConfig::read(&folder)?;
        let parameters = method
            .build::<B>(&generator, &training, 1, &device)?
            .parameters()
            .generator;
        Ok(Self {
            args,
            folder,
            out,
            device,
            parameters,
            looked: None,
            written: 0,
        })
    }

    /// Writes the page of the run as it is now. `refresh`: that of a run that is being watched, and
    /// the seconds until the page should be loaded again.
    pub(super) fn write(&mut self, refresh: Option<u64>) -> Result<Report, Failure> {
        let config = RunConfig::read(&self.folder)?;
        // A run that has only just begun has no metrics.
        let records = MetricsLog::read(&self.folder).unwrap_or_default();
        let status = Status::of(&self.folder, &records, &config.training);
        let run = self.args.subject.run.load();
        let state = run.as_ref().ok().map(|run| &run.checkpoint.state);
        let checkpoint = state.map(|state| state.iteration);
        let source = config.data.spec()?.source;
        let sentence = origin::sentence(&source, state.map(|state| state.data.as_str()));

        let mut sections = vec![
            overview(&Overview {
                folder: &self.folder,
                status,
                records: &records,
                iterations: config.training.iterations,
                data: &sentence,
                parameters: self.parameters,
                checkpoint,
            }),
            curves(&records),
        ];
        let data = match &run {
            Ok(run) => {
                let looks = self.looked(run, refresh.is_none())?;
                sections.extend(looks.sections.iter().cloned());
                looks.data.clone()
            }
            Err(reason) => {
                sections.extend(looks::missing(reason));
                None
            }
        };
        sections.extend([
            evaluations(&self.folder),
            origin::section(&sentence, &config.data, state, data.as_ref()),
            settings(&self.folder.config()?),
            commands(&self.folder.invocations(), &self.called(checkpoint)?),
        ]);

        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let path = self.folder.path();
        let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = name
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        let page = Page {
            title: format!("Run {name}"),
            lead: format!(
                "A generative model learned by {}. Page made {}.",
                config.method.name().words(),
                time(now.map_or(0, |now| now.as_secs()))
            ),
            refresh,
            sections,
        };
        let bytes = page.write(&self.out)?;
        self.written += 1;
        Ok(Report {
            out: self.out.clone(),
            bytes,
            written: self.written,
            status: status.name(),
            iteration: records.iter().map(Record::iteration).max().unwrap_or(0),
            checkpoint,
            sections: page.sections.iter().map(Section::id).collect(),
        })
    }

    fn called(&self, checkpoint: Option<u64>) -> Result<shortrun_train::Invocation, Failure> {
        Ok(invocation(
            checkpoint.unwrap_or(0),
            self.args.reporting.backend()?,
        ))
    }

    /// What is to be seen of this checkpoint; computed once, and again for a `whole` page.
    fn looked(&mut self, run: &LoadedRun, whole: bool) -> Result<&Looks, Failure> {
        let iteration = run.checkpoint.state.iteration;
        let known = self.looked.take();
        let known = known.filter(|looks| looks.iteration == iteration && (looks.whole || !whole));
        let looks = match known {
            Some(looks) => looks,
            None => looks::look::<B>(&self.args, run, whole, &self.device)?,
        };
        Ok(self.looked.insert(looks))
    }
}
